"""The folders ``mlruns/outbox/RUN_ID``: whose they are, and what becomes of them."""

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..core.errors import UserError
from . import delivery, store
from .entries import now, parse

REASONS = (
    r"\[Errno -?\d+\] ([^'\")(]+)",
    r"(database is locked)",
    r"(timed out)",
    r"(Remote end closed connection)",
    r"Caused by \w+\(['\"]([^'\"]+)",
)
"""What tells most in the sentences of network and database libraries, the best first."""
LOST = ".lost"
TAKING_SECONDS = 30.0
"""So long a folder is waited for: another process may just be delivering what is in it."""


def outbox_root() -> Path:
    """The folder with all outboxes of the project."""
    return store.project_root() / "mlruns" / "outbox"


def store_name() -> str:
    """The store's address as a folder remembers it: without a password, and the same when the project has been moved."""
    return store.where().replace(str(store.project_root()), ".")


def take(folder: Path, timeout: float = TAKING_SECONDS) -> FileLock:
    """Lock a folder, which is made if need be; the kernel unlocks it when the process dies.

    Raises UserError when another process does not let go of it, and OSError on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise UserError(
            f"another process writes the news of run {folder.name}: {shown(folder)} belongs to it"
        ) from None
    return lock


@contextmanager
def held(folder: Path, timeout: float = TAKING_SECONDS) -> Iterator[None]:
    """Hold a folder for a while, as :func:`take` does."""
    lock = take(folder, timeout)
    try:
        yield
    finally:
        lock.release()


def remove(folder: Path) -> None:
    """All is said and delivered. What MLflow refused is kept."""
    if (folder / delivery.REFUSED_FILE).exists():
        _put_aside(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def lose(folder: Path, waiting: Collection[str]) -> None:
    """The run is gone from the store: the news that waits for it is put aside, if there is any besides how it ended."""
    if all(parse(line)["kind"] in ("store", "tags", "untag", "status", "rewind") for line in waiting):
        shutil.rmtree(folder, ignore_errors=True)
        return
    aside = _put_aside(folder)
    tell(f"run {folder.name} is no longer in the MLflow store; {entries(len(waiting))} for it stay in {shown(aside)}")


def _put_aside(folder: Path) -> Path:
    aside = folder.with_name(folder.name + LOST)
    if aside.exists():
        aside = folder.with_name(f"{folder.name}.{now()}{LOST}")
    return folder.rename(aside)


def entries(count: int) -> str:
    """The number with its noun."""
    return f"{count} {'entry' if count == 1 else 'entries'}"


def shown(path: Path) -> str:
    """A path as a person in the project sees it."""
    return os.path.relpath(path, store.project_root())


def tell(sentence: str) -> None:
    """Say something on standard error; that nobody can hear it is no reason to stop."""
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr)


def few_words(error: BaseException) -> str:
    """What is wrong, out of the long sentences of network and database libraries."""
    text = str(error)
    for pattern in REASONS:
        if known := re.search(pattern, text):
            return known.group(1).strip()[:120]
    return text.partition("\n")[0].strip()[:120] or type(error).__name__
