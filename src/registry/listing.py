"""The versions of the registry as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

COLUMNS = (
    "validation.score",
    "test.gan_test_accuracy",
    "test.frechet_classifier_distance",
    "test.recall",
    "test.coverage",
)


def _rows(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    """A row a version, the newest first."""
    from . import versions

    own = versions.own_aliases(client, name)
    return [
        {
            "model": versions.called(version),
            "alias": ", ".join(own.get(str(version.version), [])),
            **{column: float(version.tags.get(column, "nan")) for column in COLUMNS},
            "classifier": version.tags.get("classifier.hash", "")[:8],
            "gate": version.tags.get("gate.decision", ""),
            "registered": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for version in versions.versions_of(client, name)
    ]


def table(client: "MlflowClient") -> list[dict[str, Any]]:
    """A row a version of every model. Raises UserError for an empty registry."""
    from ..tracking import store
    from . import versions

    rows = [row for model in versions.models(client) for row in _rows(client, model.name)]
    if not rows:
        raise UserError(f"the registry at {store.where()} is empty; `dvc repro` trains and registers a model")
    return rows


def best_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row with the lowest validation score of each classifier: scores of different ones do not compare.

    Raises UserError where no version has one.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        score, rival = row["validation.score"], best.get(row["classifier"])
        if not isnan(score) and (rival is None or score < rival["validation.score"]):
            best[row["classifier"]] = row
    if not best:
        raise UserError("no version has a validation score; `dvc repro` trains and registers one")
    return [best[classifier] for classifier in sorted(best)]
