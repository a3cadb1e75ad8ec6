"""Where studies live: a journal beside MLflow's database, or a PostgreSQL server that many machines share."""

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from ..core.errors import UserError, first_line
from ..tracking.store import project_root

if TYPE_CHECKING:
    from sqlalchemy import Engine

HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 30
"""A worker tells the server so often that it lives, and is taken for dead after so long a silence."""
ADVISORY_LOCKS = {"claims": 0x67616E, "curves": 0x67616F}  # any numbers that every process agrees on


def journal() -> Path:
    """The file with all studies of the project that are not on a server."""
    return project_root() / "mlruns" / "optuna.journal"


def open_storage(url: str | None) -> BaseStorage:
    """The server at a PostgreSQL URL, or without one the journal; made if need be.

    Raises UserError for another kind of server, one that does not answer, and a corrupt journal.
    """
    # What a person needs to know is told by the commands; what Optuna calls experimental has been so for years.
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    return _server(url) if url else _journal()


def _journal() -> BaseStorage:
    path = journal()
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
        # Machines that make a fresh database's tables at once would fail. No connection stays open for this.
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
    """A storage's name for people: without a password."""
    if not url:
        return str(journal())
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextmanager
def exclusively(storage: BaseStorage, what: Literal["claims", "curves"] = "claims") -> Iterator[None]:
    """One process at a time, of all that use the storage. A process that dies lets go of it.

    What takes time has a lock of its own: ``curves`` for what is written to MLflow, so that no worker waits for it.
    """
    file = FileLock(journal().with_suffix(f".{what}"))
    with _alone(storage.engine, what) if isinstance(storage, RDBStorage) else file:
        yield


@contextmanager
def _alone(engine: "Engine", what: str = "claims") -> Iterator[None]:
    """Hold a lock at the server that goes with the transaction, and so with the process."""
    from sqlalchemy import text

    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCKS[what]})
        yield


class Mark:
    """The sign that a worker of this machine lives: a locked file, which the kernel unlocks when the process dies."""

    def __init__(self) -> None:
        self.worker = uuid.uuid4().hex[:12]
        self._lock = FileLock(_mark(self.worker), thread_local=False)

    def __enter__(self) -> Self:
        _mark(self.worker).parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        _mark(self.worker).unlink(missing_ok=True)
        self._lock.release()


def lives(worker: str) -> bool:
    """Whether a worker of this project folder lives. What a dead one left is removed."""
    path = _mark(worker)
    if not path.exists():
        return False
    with suppress(Timeout), FileLock(path, timeout=0):
        path.unlink(missing_ok=True)
        return False
    return True


def sweep_marks() -> None:
    """Remove what workers of this project folder that were killed have left."""
    for path in _mark("any").parent.glob("*.lock"):
        lives(path.stem)


def _mark(worker: str) -> Path:
    return project_root() / "mlruns" / "workers" / f"{worker}.lock"
