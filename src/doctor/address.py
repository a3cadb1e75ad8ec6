"""Whether the MLflow store can be used: its address, whether it answers, and whether its tables fit this MLflow."""

import os
import sqlite3
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ..core.errors import UserError, first_line
from ..tracking import store
from .finding import Finding

SECONDS = 3
"""A database that does not answer for so long is out of reach."""
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql", "sqlite")
RIGHT = "unset MLFLOW_TRACKING_URI for mlruns/mlflow.db, or set it to a server (http://HOST:PORT) or a database (sqlite:///FILE)"


def store_exists() -> bool:
    """Whether there is a store to look into: a database file that nobody has made yet is none."""
    file = store.sqlite_file()
    return file is None or (file.is_file() and file.stat().st_size > 0)


def check_address() -> Iterator[Finding]:
    """One line on the store; it makes nothing, and takes seconds at most."""
    uri, shown, version = store.tracking_uri(), store.portable_address(), metadata.version("mlflow")
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    if scheme not in (*SERVERS, *DATABASES) or (scheme == "sqlite" and store.sqlite_file() is None):
        kind = (
            "the address of a file store, which MLflow refuses since 3.13" if scheme in ("", "file") else "not allowed"
        )
        yield Finding("problem", f"MLFLOW_TRACKING_URI={shown} is {kind}", RIGHT)
        return
    if not store_exists():
        yield Finding("ok", f"no store yet: the first training makes {shown}")
        return
    try:
        if scheme in DATABASES:
            revision = _file_revision() if scheme == "sqlite" else _server_revision(uri)
            if problem := _misfit(revision, version):
                yield problem
                return
        store.connect()
    except (UserError, OSError, ImportError) as error:
        yield Finding("problem", f"{shown} cannot be used: {store.reason(error)}", _advice(scheme))
    else:
        yield Finding("ok", f"{shown} answers, MLflow {version}")


def _advice(scheme: str) -> str:
    if scheme == "sqlite":
        return "end the process that holds it, see its permissions, or move it away to start a new store"
    return "start the server, or unset MLFLOW_TRACKING_URI; what is logged meanwhile stays in mlruns/outbox"


def _file_revision() -> str | None:
    """The revision of a database file's tables; it is read without MLflow, which would change an old one.

    Raises OSError for one that is locked, is no database, or may not be written.
    """
    file = store.sqlite_file()
    assert file is not None
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        raise OSError("it may not be written")
    try:
        return store.read_tables(file)[1]
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _server_revision(uri: str) -> str | None:
    """The same of a database server, which MLflow would try for minutes."""
    from sqlalchemy import NullPool, create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    timeout = {} if uri.startswith("mssql") else {"connect_timeout": SECONDS}
    try:
        engine = create_engine(uri, poolclass=NullPool, connect_args=timeout)
        if not inspect(engine).has_table("alembic_version"):
            return None
        with engine.connect() as connection:
            return str(connection.execute(text("select version_num from alembic_version")).scalar())
    except SQLAlchemyError as error:
        raise OSError(first_line(error)) from None


def _misfit(revision: str | None, version: str) -> Finding | None:
    """What is wrong where a database's tables are not those of the installed MLflow."""
    import mlflow
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    shown = store.portable_address()
    if revision is None:
        return Finding("problem", f"{shown} has no tables of MLflow", RIGHT)
    if revision == script.get_current_head():
        return None
    if revision in {one.revision for one in script.walk_revisions()}:
        advice = f"copy the database, then `mlflow db upgrade {shown}`"
        return Finding(
            "problem", f"{shown} was made by an older MLflow than {version}: its tables must be renewed", advice
        )
    advice = "install the MLflow that it was last used with, or a newer one (`pip install --upgrade mlflow`)"
    return Finding("problem", f"{shown} was made by a newer MLflow than {version}, which cannot read it", advice)
