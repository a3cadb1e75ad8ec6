"""Tables of registered versions: all, the best, and those made from a hash."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _rows(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    """A row for each version, the newest first."""
    from . import facts, versions

    own = versions.own_aliases(client, name)
    return [
        {
            "model": versions.called(version),
            "alias": ", ".join(own.get(str(version.version), [])),
            **{column: float(version.tags.get(column, "nan")) for column in facts.SCORES},
            "classifier": version.tags.get("classifier.hash", "")[:8],
            "gate": version.tags.get("gate.decision", ""),
            "registered": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for version in versions.versions_of(client, name)
    ]


def table(client: "MlflowClient") -> list[dict[str, Any]]:
    """A row for each version of every model. Raises UserError for an empty registry."""
    from ..tracking import store
    from . import versions

    rows = [row for model in versions.models(client) for row in _rows(client, model.name)]
    if not rows:
        raise UserError(f"the registry at {store.where()} is empty; `dvc repro` trains and registers a model")
    return rows


def best_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row with the lowest validation score for each judge: scores of different judges are not comparable.

    Raises UserError if no version has one.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        score, rival = row["validation.score"], best.get(row["classifier"])
        if not isnan(score) and (rival is None or score < rival["validation.score"]):
            best[row["classifier"]] = row
    if not best:
        raise UserError("no version has a validation score; `dvc repro` trains and registers one")
    return [best[classifier] for classifier in sorted(best)]


KINDS = {
    "git.commit": "trained at commit",
    "registered.git.commit": "registered at commit",
    "git.diff.sha256": "difference from the commit",
    "code.sha256": "code",
    "data.hash": "data",
    "classifier.hash": "classifier",
    "generator.hash": "generator",
    "requirements.sha256": "requirements",
    "dvc.lock.sha256": "dvc.lock",
    "dvc.exp.baseline.rev": "DVC experiment's baseline",
}


OUTPUT = "dvc.out."


def matches(tags: dict[str, str], digits: str) -> list[str]:
    """The titles of the tags whose hash starts with these digits."""
    found = [title for tag, title in KINDS.items() if tags.get(tag, "").startswith(digits)]
    found += [
        f"DVC {tag.removeprefix(OUTPUT)}"
        for tag, value in sorted(tags.items())
        if tag.startswith(OUTPUT) and value.startswith(digits)
    ]
    return found


def came_from(client: "MlflowClient", digits: str) -> list[dict[str, Any]]:
    """A row for each version made from a hash that starts with these digits."""
    from . import facts, versions

    rows = []
    for model in versions.models(client):
        aliases = versions.own_aliases(client, model.name)
        for version in versions.versions_of(client, model.name):
            if found := matches(facts.facts(client, version), digits):
                rows.append(
                    {
                        "model": versions.called(version),
                        "alias": ", ".join(aliases.get(str(version.version), [])),
                        "what has this hash": ", ".join(found),
                        "validation.score": version.tags.get("validation.score", ""),
                        "run": facts.run_of(version),
                    }
                )
    return rows
