"""Look into the model registry: ``python -m src.registry list | show NAME[@ALIAS|/VERSION] | best``."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from src.errors import UserError, run_command
from src.tracking import registry, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

COLUMNS = (
    "validation.score",
    "test.gan_test_accuracy",
    "test.frechet_classifier_distance",
    "test.recall",
    "test.coverage",
)


def _rows(client: "MlflowClient", name: str) -> list[dict[str, object]]:
    """A row a version, the newest first."""
    aliases: dict[str, list[str]] = {}
    for alias, number in registry.aliases_of(client, name).items():
        aliases.setdefault(number, []).append(alias)
    return [
        {
            "model": f"{name}/{version.version}",
            "alias": ", ".join(sorted(aliases.get(str(version.version), []))),
            **{column: float(version.tags.get(column, "nan")) for column in COLUMNS},
            "classifier": version.tags.get("classifier.hash", "")[:8],
            "registered": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for version in registry.versions_of(client, name)
    ]


def _table(client: "MlflowClient") -> pd.DataFrame:
    rows = [row for model in client.search_registered_models() for row in _rows(client, model.name)]
    if not rows:
        raise UserError(f"the registry at {store.tracking_uri()} is empty; `dvc repro` trains and registers a model")
    return pd.DataFrame(rows)


def show(client: "MlflowClient", version: "ModelVersion") -> None:
    """Print everything that is known of a version, and how to use it."""
    name = f"{version.name}/{version.version}"
    stored = registry.load_version(client, version)
    aliases = registry.aliases_of(client, version.name)
    parameters = sum(parameter.numel() for parameter in stored.network.parameters())
    lines = {
        "model": name,
        "aliases": ", ".join(sorted(alias for alias, number in aliases.items() if number == str(version.version)))
        or "none",
        "MLflow run": version.run_id,
        "files": version.source,
        "classes": ", ".join(stored.class_names),
        "parameters": f"{parameters:,}",
        **dict(sorted(version.tags.items())),
    }
    width = max(map(len, lines))
    print("\n".join(f"{key:<{width}}  {value}" for key, value in lines.items()))
    print(f"\npython -m src.sample --model {name} --label 0 --count 16 --seed 0 --out images.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer from the registry."""
    parser = argparse.ArgumentParser(prog="python -m src.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every version of every model, with its scores")
    shown = commands.add_parser("show", help="all that is known of one version")
    shown.add_argument("model", help="NAME@ALIAS or NAME/VERSION; NAME alone means its champion")
    commands.add_parser("best", help="the version with the lowest validation score, for each classifier that judged")
    options = parser.parse_args(arguments)
    client = store.connect()
    if options.command == "show":
        show(client, registry.find_version(client, options.model))
        return
    table = _table(client)
    if options.command == "best":
        # Scores of different classifiers do not compare: the best is looked for among those of the same one.
        table = table.loc[table.groupby("classifier")["validation.score"].idxmin().dropna()]
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
