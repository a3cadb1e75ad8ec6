"""Where the project's MLflow data lives, and how it is reached."""

import gc
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..core.errors import UserError, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient


def project_root() -> Path:
    """The project's folder. Under ``dvc exp run --temp`` the work happens in a copy, and DVC_ROOT names the project."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, so that a server works too; otherwise ``mlruns/mlflow.db`` in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlruns' / 'mlflow.db'}"


def where() -> str:
    """The store's address for people: without a password."""
    return re.sub(r"//[^/@]*@", "//", tracking_uri())


NOT_ASKED = "http://127.0.0.1:9"
"""an address that takes no time to open, in place of a store that is not asked"""


def connect(*, registry_alone: bool = False) -> "MlflowClient":
    """A client of the project's store; the store is created if need be.

    With ``registry_alone`` it answers questions about registered models only: the store of the runs, which takes as long to
    open as the rest together, is left closed. Raises UserError when a server or database cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with _uncollected():
        return _connected(registry_alone=registry_alone)


def _connected(*, registry_alone: bool) -> "MlflowClient":
    import mlflow
    from mlflow.exceptions import MlflowException

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # A database that is locked is an exception, which somebody handles; no traceback for each attempt.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\..*")
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        with _creation_lock(uri):
            client = mlflow.MlflowClient(NOT_ASKED if registry_alone else uri, uri)
            ask = client.search_registered_models if registry_alone else client.search_experiments
            ask(max_results=1)
    except (MlflowException, OSError) as error:
        reason = first_line(error).replace(uri, where())
        raise UserError(f"the MLflow store {where()} cannot be reached: {reason}") from None
    return client


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: MLflow and SQLAlchemy make objects that stay, and a fifth of their start went into it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _creation_lock(uri: str) -> AbstractContextManager[Any]:
    """Of several processes that start on a fresh SQLite file, all but one would fail to create its tables."""
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_suffix(".lock"))


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The id of the experiment ``name``, which is created if need be, artifacts under ``mlruns/artifacts`` or at the server."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return str(experiment.experiment_id)
    local = tracking_uri().startswith("sqlite:")
    location = (project_root() / "mlruns" / "artifacts" / name).as_uri() if local else None
    try:
        return client.create_experiment(name, location, {"mlflow.experimentKind": "custom_model_development"})
    except MlflowException as error:
        experiment = client.get_experiment_by_name(name)  # another process may have been a moment faster
        if experiment is None or experiment.lifecycle_stage != "active":
            raise UserError(f"the MLflow experiment {name!r} cannot be used: {first_line(error)}") from None
        return str(experiment.experiment_id)


@contextmanager
def outage_is_told(what: str) -> Iterator[None]:
    """Go on where MLflow does not answer, and say on standard error that it does not know ``what``."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        print(f"MLflow does not answer, and does not have {what} yet: {first_line(error)}", file=sys.stderr)
