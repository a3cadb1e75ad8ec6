"""News of trainings that MLflow does not have yet."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..tracking import folders
from ..tracking.entries import Entries, parse
from ..tracking.recovery import deliver_leftovers
from .finding import Finding, some

if TYPE_CHECKING:
    from mlflow import MlflowClient


def check_waiting(client: "MlflowClient | None") -> Iterator[Finding]:
    """What waits in ``mlruns/outbox``; the repair delivers what is for the present store. None: it is out of reach."""
    own, other, lost = dict[str, int](), dict[str, str](), list[str]()
    for folder in sorted(folders.outbox_root().glob("*/")):
        name = folders.shown(folder)
        if folder.suffix == folders.LOST:
            lost.append(name)
        elif count := _waiting(folder):
            address = _address(folder)
            if address == folders.store_name():
                own[name] = count
            else:
                other[name] = address
    if own:
        text = f"{folders.entries(sum(own.values()))} for MLflow wait in {some(list(own))}"
        repair = partial(_deliver, client) if client else None
        yield Finding("warning", text, "delivers them" if client else "they wait until MLflow answers", repair)
    if other:
        addresses = ", ".join(sorted(set(other.values())))
        advice = f"with MLFLOW_TRACKING_URI={addresses}, `python -m src.doctor --fix` delivers them"
        yield Finding("warning", f"{some(list(other))}: for another store, {addresses}", advice)
    if lost:
        advice = "look into entries.jsonl there, and remove the folder when it is of no use any more"
        yield Finding("warning", f"{some(lost)}: news that the store has no run for, or has refused", advice)
    if not (own or other or lost):
        yield Finding("ok", "MLflow has been told everything")


def _waiting(folder: Path) -> int:
    """Entries of a process that is gone; a living one delivers its own."""
    try:
        with folders.held(folder, 0.0):
            entries = Entries(folder)
            entries.read()
            return entries.count - entries.sent
    except UserError:
        return 0


def _address(folder: Path) -> str:
    names = [parse(line).get("uri") for line in Entries(folder).read() if '"kind": "store"' in line]
    return str(names[-1]) if names else folders.store_name()


def _deliver(client: "MlflowClient") -> str:
    told: list[str] = []
    deliver_leftovers(client, told.append)
    return "; ".join(told)
