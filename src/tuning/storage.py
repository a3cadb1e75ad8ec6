"""Where studies are stored: a journal beside MLflow's database, or a PostgreSQL server shared by several machines."""

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from ..core.errors import UserError, first_line
from ..tracking.store import project_root

if TYPE_CHECKING:
    from sqlalchemy import Engine

HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 30
"""Interval of a worker's heartbeats to the server, and the silence after which it counts as dead."""
ADVISORY_LOCKS = {"claims": 0x67616E, "curves": 0x67616F}  # arbitrary, but the same in all processes


def journal() -> Path:
    """The file with all studies of the project that are not on a server."""
    return project_root() / "mlruns" / "optuna.journal"


def open_storage(url: str | None, *, create: bool = True) -> BaseStorage:
    """The server at a PostgreSQL URL, or without one the journal.

    Without ``create``, no file is written: a missing journal is an empty storage. Raises UserError for another kind of
    server, one that is not responding, and a corrupt journal.
    """
    # The commands report what matters; what Optuna calls experimental has been stable for years.
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if url:
        return _server(url)
    path = journal()
    if not create and not path.exists():
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away to start new studies") from None


def _server(url: str) -> BaseStorage:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise UserError(f"--storage {url} is not allowed: it must be postgresql://[USER@]HOST[:PORT]/DATABASE")
    address = f"postgresql+psycopg://{rest}"
    try:
        # Creating the tables of a new database from several processes at once fails.
        with _alone(create_engine(address, poolclass=NullPool)):
            return RDBStorage(
                address,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
            )
    except ImportError:
        raise UserError("--storage needs the package psycopg: pip install 'psycopg[binary]'") from None
    except (SQLAlchemyError, ValueError) as error:
        raise UserError(f"the storage {shown(url)} cannot be used: {first_line(error)}") from None


def shown(url: str | None) -> str:
    """The name of a storage in messages, without the password."""
    if not url:
        return str(journal())
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextmanager
def exclusively(storage: BaseStorage, what: Literal["claims", "curves"] = "claims") -> Iterator[None]:
    """Hold a lock that is shared by all processes that use the storage; released when the process dies.

    ``curves`` is a separate lock for writing to MLflow, which takes time, so that no worker has to wait for it.
    """
    file = FileLock(journal().with_suffix(f".{what}"))
    with _alone(storage.engine, what) if isinstance(storage, RDBStorage) else file:
        yield


@contextmanager
def _alone(engine: "Engine", what: str = "claims") -> Iterator[None]:
    """Hold an advisory lock of the server, which is released with the transaction, and so with the process."""
    from sqlalchemy import text

    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCKS[what]})
        yield


# A journal has no heartbeats (Optuna supports them in an RDBStorage only), so a worker holds a locked file instead.


def new_worker() -> str:
    """A unique name for a worker."""
    return uuid.uuid4().hex[:12]


@contextmanager
def alive(worker: str) -> Iterator[None]:
    """Mark a worker as alive by a locked file, which the kernel unlocks when the process dies."""
    path = _lock_file(worker)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, thread_local=False):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_alive(worker: str) -> bool:
    """Whether a worker of this project folder is alive. The lock file of a dead one is removed."""
    path = _lock_file(worker)
    if not path.exists():
        return False
    with suppress(Timeout), FileLock(path, timeout=0):
        path.unlink(missing_ok=True)
        return False
    return True


def remove_dead_locks() -> None:
    """Remove the lock files of killed workers of this project folder."""
    for path in _lock_file("any").parent.glob("*.lock"):
        is_alive(path.stem)


def _lock_file(worker: str) -> Path:
    return project_root() / "mlruns" / "workers" / f"{worker}.lock"
