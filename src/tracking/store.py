"""Where the project's MLflow data is stored, and the one way to open it."""

import gc
import json
import logging
import os
import re
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock

from ..core.errors import UserError, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
UNASKED = "http://127.0.0.1:9"
"""placeholder address that opens at once, for a store that is not queried"""
SECONDS = 3
"""seconds to wait for a locked database file"""
LARGEST_CHECKED = 2**25
"""Size in bytes above which a database file is not checked page by page each time it is opened."""
REASONS = (
    r"\[Errno -?\d+\] ([^'\")(]+)",
    r"(database is locked)",
    r"(timed out)",
    r"(Remote end closed connection)",
    r"(out-of-date database schema \([^)]+\))",
    r"is (the database of another program)",
    r"Caused by \w+\(['\"]([^'\"]+)",
)
"""Patterns of the informative part of long messages of network and database libraries, most specific first."""
METRICS = (
    "best.score",
    "test.gan_test_accuracy",
    "test.frechet_classifier_distance",
    "test.recall",
    "test.coverage",
)
"""the columns of the experiment's table, the score to minimise first"""
COLUMNS = ("attributes.`Start Time`", "attributes.`Duration`", "attributes.`Models`", "params.`model.family`")
VIEW = {
    "orderByKey": f"metrics.`{METRICS[0]}`",
    "orderByAsc": True,
    "searchFilter": "",
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
}
"""the state of MLflow's table of runs, as its UI stores a shared view"""
ABOUT = (
    "One run for each training. Lower `validation.score` is better: the Frechet joint distance between generated and real "
    "validation images; `test.*` are the scores of the stage evaluate. The run's page has sample images by step, losses "
    "under Model metrics, and CPU, memory and GPU under System metrics."
)


def project_root() -> Path:
    """The project's folder. Under ``dvc exp run --temp`` the stage runs in a copy, and DVC_ROOT names the project."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, a server for example; otherwise ``mlruns/mlflow.db`` in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{project_root() / 'mlruns' / 'mlflow.db'}"


def where() -> str:
    """The store's address without a password."""
    return re.sub(r"//[^/@]*@", "//", tracking_uri())


def portable_address() -> str:
    """The store's address without a password, and independent of the project's folder."""
    return where().replace(str(project_root()), ".")


def sqlite_file() -> Path | None:
    """The database file; None for a server."""
    uri = tracking_uri()
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def shown(path: Path) -> str:
    """A path relative to the project."""
    return os.path.relpath(path, project_root())


def warn(sentence: str) -> None:
    """Print to standard error, if there is one."""
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr)


def reason(error: BaseException) -> str:
    """The cause in the long message of a network or database library."""
    for pattern in REASONS:
        if known := re.search(pattern, str(error)):
            return known.group(1).strip()[:120]
    return str(error).partition("\n")[0].strip()[:120] or type(error).__name__


def connect(*, registry_alone: bool = False) -> "MlflowClient":
    """A client of the project's store; the store is created if need be.

    With ``registry_alone`` the client only serves queries about registered models: the store of the runs, which takes as
    long to open as everything else together, is not opened. Raises UserError for a server or database that cannot be
    reached, and for a file that is corrupt or belongs to another program; such a file is not modified.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with _creation_lock(), _uncollected():
        check_file()
        return _connected(registry_alone=registry_alone)


def _connected(*, registry_alone: bool) -> "MlflowClient":
    import mlflow
    from mlflow.exceptions import MlflowException

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # A locked database raises an exception, which is handled: no traceback for each attempt.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\..*")
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        client = mlflow.MlflowClient(UNASKED if registry_alone else uri, uri)
        ask = client.search_registered_models if registry_alone else client.search_experiments
        ask(max_results=1)
    except (MlflowException, OSError) as error:
        cause = first_line(error).replace(uri, where())
        raise UserError(f"the MLflow store {where()} cannot be reached: {cause}") from None
    return client


def check_file() -> None:
    """Raise UserError for a database file that is corrupt or of another program, to which MLflow would add its tables."""
    file = sqlite_file()
    if file is None or not file.exists():
        return
    remedy = "restore it from a copy, or move it away to start with an empty store; nothing was changed"
    if not file.is_file():
        raise UserError(f"the MLflow store {shown(file)} is not a file; {remedy}")
    try:
        tables, _ = read_tables(file, thorough=file.stat().st_size <= LARGEST_CHECKED)
    except sqlite3.OperationalError:
        return  # locked, or not readable: MLflow waits for it, and reports it
    except sqlite3.DatabaseError as error:
        raise UserError(f"the MLflow store {shown(file)} is corrupt ({error}); {remedy}") from None
    if tables and not tables & {"experiments", "registered_models"}:
        raise UserError(f"{shown(file)} is the database of another program, without MLflow's tables; {remedy}")


def read_tables(file: Path, *, thorough: bool = False) -> tuple[set[str], str | None]:
    """The names of the tables in a database file, and their Alembic revision. Reads only; raises sqlite3.Error.

    ``thorough``: corrupt pages raise sqlite3.DatabaseError, too.
    """
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        if thorough and (found := connection.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split())[:80])
        row = None
        if "alembic_version" in tables:
            row = connection.execute("select version_num from alembic_version").fetchone()
    return tables, str(row[0]) if row else None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: collections take a fifth of the start of MLflow and SQLAlchemy, and free nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _creation_lock() -> AbstractContextManager[Any]:
    """A lock: of several processes that create the tables of a fresh SQLite file at once, all but one would fail."""
    file = sqlite_file()
    if file is None:
        return nullcontext()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the MLflow store {where()} cannot be reached: {error}") from None
    return FileLock(file.with_suffix(".lock"))


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The id of the experiment ``name``, which is created if need be, artifacts under ``mlruns/artifacts`` or at the server."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return str(experiment.experiment_id)
    local = tracking_uri().startswith("sqlite:")
    location = (project_root() / "mlruns" / "artifacts" / name).as_uri() if local else None
    view = {**VIEW, "selectedColumns": [*COLUMNS, *(f"metrics.`{metric}`" for metric in METRICS)]}
    tags = {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": METRICS[0],
        "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
        "mlflow.sharedViewState.scores": json.dumps(view),
    }
    try:
        created = str(client.create_experiment(name, location, tags))
        page = f"#/experiments/{created}/runs?viewStateShareKey=scores"
        client.set_experiment_tag(
            created, "mlflow.note.content", f"[Runs by score, with the main columns]({page}). {ABOUT}"
        )
        return created
    except MlflowException as error:
        experiment = client.get_experiment_by_name(name)  # another process may have created it in the meantime
        if experiment is None or experiment.lifecycle_stage != "active":
            raise UserError(f"the MLflow experiment {name!r} cannot be used: {first_line(error)}") from None
        return str(experiment.experiment_id)


@contextmanager
def reporting_outage(what: str) -> Iterator[None]:
    """Continue if MLflow is not responding, and print to standard error that ``what`` is not recorded yet."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        warn(f"MLflow is not responding; {what} is not recorded yet: {first_line(error)}")
