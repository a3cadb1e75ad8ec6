"""Whether the registry is intact: the files of every version, and the aliases."""

import re
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..registry import versions
from .finding import Finding

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def check_registry(client: "MlflowClient") -> Iterator[Finding]:
    """Check every version of this project's models as the commands do, which refuse one that has changed."""
    count = good = 0
    for model in versions.models(client):
        there = versions.versions_of(client, model.name)
        count += len(there)
        for version in there:
            if problem := _problem(client, version):
                yield problem
            else:
                good += 1
        numbers = {str(version.version) for version in there}
        for alias, number in sorted(versions.aliases_of(client, model.name).items()):
            if number not in numbers:
                text = f"{model.name}@{alias} refers to version {number}, which does not exist"
                yield Finding("problem", text, "removes the alias", partial(_drop, client, model.name, alias))
    if good == count:
        yield Finding("ok", f"{count} registered {'version is' if count == 1 else 'versions are'} intact")


def _problem(client: "MlflowClient", version: "ModelVersion") -> Finding | None:
    name = versions.called(version)
    try:
        versions.check_version(client, version)
    except UserError as error:
        advice = (
            f"`python -m src.registry rebuild {name}` recreates it, `python -m src.registry delete {name}` removes it"
        )
        # What is checked is a copy of its files.
        text = re.sub(rf"{re.escape(tempfile.gettempdir())}/[^/]+/", "", str(error))
        return Finding("problem", text if name in text else f"{name}: {text}", advice)
    return None


def _drop(client: "MlflowClient", name: str, alias: str) -> str:
    client.delete_registered_model_alias(name, alias)
    return f"removed the alias {name}@{alias}"
