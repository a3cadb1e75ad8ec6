"""Whether the registry is whole: the files of every version and its aliases."""

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
    """Check every version of this project's models as the commands do, which refuse what is not as it was registered."""
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
                text = f"{model.name}@{alias} means version {number}, which does not exist"
                yield Finding("problem", text, "removes the alias", partial(_drop, client, model.name, alias))
    if good == count:
        yield Finding("ok", f"{count} registered {'version is' if count == 1 else 'versions are'} whole")


def _problem(client: "MlflowClient", version: "ModelVersion") -> Finding | None:
    name = versions.called(version)
    try:
        versions.check_version(client, version)
    except UserError as error:
        advice = (
            f"`python -m src.registry rebuild {name}` makes it again, `python -m src.registry delete {name}` removes it"
        )
        where = re.escape(tempfile.gettempdir())  # a copy of its files is checked there
        text = re.sub(rf"{where}/[^/]+/", "", str(error))
        return Finding("problem", text if name in text else f"{name}: {text}", advice)
    return None


def _drop(client: "MlflowClient", name: str, alias: str) -> str:
    client.delete_registered_model_alias(name, alias)
    return f"removed the alias {name}@{alias}"
