"""Whether the MLflow store can be used: its address, and whether it answers."""

import os
import sqlite3
from collections.abc import Iterator
from importlib import metadata

from ..core.errors import UserError, first_line
from ..tracking import store
from .finding import Finding

SECONDS = 3
"""how long a database server may take to answer"""
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql", "sqlite")
RIGHT = "unset MLFLOW_TRACKING_URI for mlruns/mlflow.db, or set it to a server (http://HOST:PORT) or a database (sqlite:///FILE)"


def store_exists() -> bool:
    """Whether there is a store to check: a database file may not have been created yet."""
    file = store.sqlite_file()
    return file is None or (file.is_file() and file.stat().st_size > 0)


def check_address() -> Iterator[Finding]:
    """Whether the store answers within seconds. Creates nothing."""
    uri, shown = store.tracking_uri(), store.portable_address()
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    if scheme not in (*SERVERS, *DATABASES) or (scheme == "sqlite" and store.sqlite_file() is None):
        old = "the address of a file store, which MLflow does not support since 3.13"
        yield Finding(
            "problem", f"MLFLOW_TRACKING_URI={shown} is {old if scheme in ('', 'file') else 'invalid'}", RIGHT
        )
        return
    if not store_exists():
        yield Finding("ok", f"no store yet: the first run creates {shown}")
        return
    try:
        if scheme in DATABASES:
            _probe(uri)
        store.connect()
    except (UserError, OSError, ImportError) as error:
        why = store.reason(error)
        yield Finding("problem", f"{shown} cannot be used: {why}", _advice(scheme, why))
    else:
        yield Finding("ok", f"{shown} answers, MLflow {metadata.version('mlflow')}")


def _advice(scheme: str, why: str) -> str:
    if "schema" in why:
        uri = store.portable_address()
        return f"back up the database, then `mlflow db upgrade {uri}`; or install the MLflow that it was last used with"
    if scheme == "sqlite":
        return "end the process that locks it, check its permissions, or move it away to start a new store"
    return "start the server, or unset MLFLOW_TRACKING_URI; what is logged in the meantime stays in mlruns/outbox"


def _probe(uri: str) -> None:
    """Raise OSError for a database that cannot be used at once: MLflow would retry for minutes."""
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    file = store.sqlite_file()
    try:
        if file is None:
            timeout = {} if uri.startswith("mssql") else {"connect_timeout": SECONDS}
            create_engine(uri, poolclass=NullPool, connect_args=timeout).connect().close()
        elif os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
            store.read_tables(file)
        else:
            raise OSError("it is not writable")
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise OSError(first_line(error)) from None
