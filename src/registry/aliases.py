"""The aliases of a registered model: candidate, champion and previous champion. There is always a champion."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock

from ..core.errors import UserError
from ..tracking import store
from . import facts
from .versions import CHAMPION, aliases_of, called, own_aliases

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"


@contextmanager
def deciding() -> Iterator[None]:
    """Lock: one process of the project at a time compares with the champion and replaces it."""
    with FileLock(store.project_root() / "mlruns" / "registry.lock"):
        yield


def promote(client: "MlflowClient", version: "ModelVersion", instead_of: str | None) -> None:
    """Make a version champion in place of the version ``instead_of``, which becomes previous.

    Raises UserError if it is champion already, or if the champion is no longer ``instead_of``.
    """
    name, number = version.name, str(version.version)
    champion = aliases_of(client, name).get(CHAMPION)
    if champion != instead_of:
        raise UserError(
            f"the champion of {name} is now version {champion or 'none'}, not {instead_of or 'none'}; try again"
        )
    if champion == number:
        raise UserError(f"{called(version)} is the champion already")
    if champion:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, number)


def since(client: "MlflowClient", version: "ModelVersion", what: str) -> None:
    """Record when and how a version became champion."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    facts.remove(client, version, [facts.ROLLED_BACK])
    facts.record(client, version, {facts.SINCE: f"{when}, {what}"})


def previous(client: "MlflowClient", name: str) -> str:
    """The version that a rollback restores. Raises UserError if there is none."""
    aliases = aliases_of(client, name)
    number = aliases.get(PREVIOUS)
    if not number or number == aliases.get(CHAMPION):
        raise UserError(
            f"{name} has no previous champion to restore; `python -m src.registry list` shows its versions, and "
            f"`python -m src.registry promote {name}/VERSION` makes one champion"
        )
    return number


def may_delete(client: "MlflowClient", version: "ModelVersion") -> None:
    """Raise UserError for the champion."""
    if aliases_of(client, version.name).get(CHAMPION) == str(version.version):
        raise UserError(
            f"{called(version)} is the champion, which cannot be deleted; promote another "
            f"version first (`python -m src.registry promote {version.name}/VERSION`)"
        )


def delete(client: "MlflowClient", version: "ModelVersion") -> None:
    """Delete a version other than the champion, with its aliases. Its run keeps scores and pictures."""
    may_delete(client, version)
    for alias in own_aliases(client, version.name).get(str(version.version), []):
        client.delete_registered_model_alias(version.name, alias)
    client.delete_model_version(version.name, version.version)
