"""Rows of runs that MLflow does not have yet."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..tracking import store
from ..tracking.outbox import LOST, Outbox, outbox_root, rows_of
from ..tracking.sync import sync_all
from .finding import Finding, some

if TYPE_CHECKING:
    from mlflow import MlflowClient


def check_pending(client: "MlflowClient | None") -> Iterator[Finding]:
    """Unsent rows in ``mlruns/outbox``; the repair sends those for the current store. Without ``client``, it is away."""
    own, other, lost = dict[str, int](), dict[str, str](), list[str]()
    for folder in sorted(outbox_root().glob("*/")):
        if folder.suffix == LOST:
            lost.append(store.shown(folder))
            continue
        try:
            outbox = Outbox(folder.name, 0.0)
        except UserError:  # its process sends them
            continue
        if outbox.waiting and outbox.address == store.portable_address():
            own[store.shown(folder)] = outbox.waiting
        elif outbox.waiting:
            other[store.shown(folder)] = str(outbox.address)
        outbox.release()
    if own:
        text = f"{rows_of(sum(own.values()))} for MLflow are unsent, in {some(list(own))}"
        repair = partial(_send, client) if client else None
        yield Finding("warning", text, "sends them" if client else "they are sent when MLflow answers", repair)
    if other:
        addresses = ", ".join(sorted(set(other.values())))
        advice = f"with MLFLOW_TRACKING_URI={addresses}, `python -m src.doctor --fix` sends them"
        yield Finding("warning", f"{some(list(other))}: for another store, {addresses}", advice)
    if lost:
        advice = "look into rows.jsonl there, and delete the folder when it is no longer needed"
        yield Finding("warning", f"{some(lost)}: rows of a run that is not in the store", advice)
    if not (own or other or lost):
        yield Finding("ok", "MLflow has everything that was logged")


def _send(client: "MlflowClient") -> str:
    messages: list[str] = []
    sync_all(client, messages.append)
    return "; ".join(messages)
