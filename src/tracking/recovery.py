"""News that processes of the past could not deliver."""

import json
import shutil
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from . import delivery, folders, store
from .entries import Entries, is_final, now, parse

if TYPE_CHECKING:
    from mlflow import MlflowClient


def deliver_leftovers(client: "MlflowClient", tell: Callable[[str], None] = folders.tell) -> None:
    """Deliver what waits for the present store; folders of living processes are left alone.

    The folder of a training that may be continued is kept: it knows what has been said. Nothing that goes wrong here stops
    the caller; ``tell`` gets a sentence on it, and one on each folder.
    """
    for folder in sorted(path for path in folders.outbox_root().glob("*/") if path.suffix != folders.LOST):
        try:
            with folders.held(folder, 0.0):
                count = _deliver_folder(client, folder)
        except UserError:  # another process holds it
            continue
        except Exception as error:
            place = folders.shown(folders.outbox_root())
            tell(f"news of earlier runs still waits in {place} ({folders.few_words(error)})")
            return
        if count:
            tell(f"{folders.entries(count)} that waited for MLflow were written to run {folder.name}")


def abandon(run_id: str, reason: str = "started afresh", *, final: bool = True) -> None:
    """The run of a training that was interrupted is marked as killed, now or when the store answers.

    If it is ``final`` the training will not be continued, and the folder goes; otherwise it is kept for who continues it.

    Raises UserError when a living process has it.
    """
    folder = folders.outbox_root() / run_id
    with folders.held(folder):
        stopped = {"kind": "tags", "values": {"stopped": reason[: delivery.LONGEST_TEXT]}}
        _append(folder, stopped, {"kind": "status", "status": "KILLED", "time": now(), "final": final})
        try:
            _deliver_folder(store.connect(), folder)
        except Exception as error:
            why = folders.few_words(error)
            folders.tell(f"MLflow does not answer ({why}): the next run writes how run {run_id} ended")


def adopt(lost: str, run_id: str) -> None:
    """A new run takes the place of one that the store lost, and is told everything that was ever said to that one."""
    for folder in (folders.outbox_root() / lost, folders.outbox_root() / f"{lost}{folders.LOST}"):
        if folder.is_dir():
            with folders.held(folder):
                _append(folder, {"kind": "store", "uri": folders.store_name()}, afresh=True)
                folder.rename(folder.with_name(run_id))
            return


def _append(folder: Path, *new: dict[str, Any], afresh: bool = False) -> None:
    entries = Entries(folder)
    first = [] if entries.read() else [{"kind": "store", "uri": folders.store_name()}]
    entries.append([json.dumps(entry) for entry in (*first, *new)])
    if afresh:
        entries.mark_sent(0)
    entries.close()


def _deliver_folder(client: "MlflowClient", folder: Path) -> int:
    """Deliver what waits in a folder that the caller holds, if it is for the present store; returns how many entries.

    When they end the run for good, the folder is removed.
    """
    entries = Entries(folder)
    lines = entries.read()
    names = [parse(line).get("uri") for line in lines if '"kind": "store"' in line]
    if not names:  # its process died before it said anything, or another one has just removed it
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    if names[-1] != folders.store_name():
        return 0
    queue = deque(lines[entries.sent :])
    count = len(queue)
    try:
        while queue:
            batch = delivery.deliver_next(client, folder.name, folder, islice(queue, delivery.ENTITIES))
            for _ in batch:
                queue.popleft()
            entries.mark_sent(entries.sent + len(batch))
            delivery.clear_delivered(folder, batch)
    except delivery.RunIsGone:
        folders.lose(folder, queue)
        return 0
    if is_final(lines[-1]):
        folders.remove(folder)
    return count
