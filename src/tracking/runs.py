"""MLflow runs: opened, resumed, and ended as finished, failed or killed."""

import getpass
import json
import platform
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core import interrupts
from ..core.errors import UserError, first_line
from . import store
from .outbox import LONGEST_TEXT, Outbox, now
from .sync import HEALTHY_CLOSE, RunIsGone, Sender, adopt, run_is_gone, sync, sync_all
from .system_metrics import SystemMonitor, enabled

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .origin import Origin

PATCH = "git.diff"
"""artifact of a run: the difference from its commit"""
STARTED_IN = "started.in"
"""tag of a run: host and project folder of the process that opened it last"""
PARAMS = 100
"""MLflow's limit of params or tags per call."""


class _Ending:
    """How a run ends: as finished, unless one of these is called."""

    how: tuple[str, Mapping[str, str]] = "FINISHED", {}
    decided = False

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end("FAILED", {"failure": reason[:LONGEST_TEXT]})

    def kill(self, reason: str) -> None:
        """End the run as killed (stopped on purpose, before its end), with the reason as a tag."""
        self._end("KILLED", {"stopped": reason[:LONGEST_TEXT]})

    def interrupted(self, error: BaseException) -> None:
        """End the run for an exception: killed for a signal, failed for any other."""
        if isinstance(error, KeyboardInterrupt):
            self.kill(error.reason if isinstance(error, interrupts.Stopped) else "Ctrl-C")
        else:
            self.fail(f"{type(error).__name__}: {error}")

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        # Logged when the run is closed, after everything else, such as the last grid of a pruned trial.
        self.how, self.decided = (status, tags), True


class Run(_Ending):
    """A run that is written at once, through a client: no active run, no module state.

    It holds the run's outbox, so that other processes see that the run is in use, and its final status is never lost.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.outbox = Outbox(run_id, 0.0, shared=True)
        self.outbox.open()

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        _log_tags(self.client, self.run_id, values)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at a step, in one call."""
        from mlflow.entities import Metric

        self.client.log_batch(self.run_id, [Metric(name, value, now(), step) for name, value in values.items()])

    def scores(self, values: Mapping[str, float], model_id: str | None, split: tuple[str, str] | None) -> None:
        """Log the metrics of a logged model on a dataset, given by name and digest."""
        from mlflow.entities import Metric

        name, digest = split if split and model_id else (None, None)
        about = {"model_id": model_id, "dataset_name": name, "dataset_digest": digest}
        self.client.log_batch(self.run_id, [Metric(key, value, now(), 0, **about) for key, value in values.items()])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file or a folder's contents."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder)
        else:
            self.client.log_artifact(self.run_id, str(path), folder)

    def text(self, text: str, name: str) -> None:
        """Log a text artifact."""
        self.client.log_text(self.run_id, text, name)

    def finish(self) -> None:
        """Record how the run ended. Raises UserError if MLflow is not responding; the next command then records it."""
        self.outbox.end(*self.how)
        try:
            sync(self.client, self.outbox)
        except RunIsGone:
            self.outbox.gone = True
        except Exception as error:
            text = f"MLflow is not responding, so the status {self.how[0]} of run {self.run_id} is not recorded"
            raise UserError(f"{text}: {first_line(error)}; the next command sends it") from None
        finally:
            self.outbox.close()


class TrainingRun(Outbox, _Ending):
    """A training run, which never waits for MLflow: a thread sends its rows."""

    def __init__(self, run_id: str, client: "MlflowClient | None", *, monitored: bool) -> None:
        super().__init__(run_id)
        self.open()
        self._sender = Sender(self, client)
        self._monitor = SystemMonitor(self._log_system) if monitored else None

    def _log_system(self, values: Mapping[str, float]) -> None:
        if not self.ended:
            self.metrics(values, None)

    def finish(self) -> None:
        """Log how the run ended, and wait until everything is sent, as long as MLflow responds."""
        if self._monitor is not None:
            self._monitor.close()
        self.end(*self.how)
        self._sender.close()


@contextmanager
def new_run(experiment: str, origin: "Origin", parent: str | None = None) -> Iterator[Run]:
    """Create a run with its origin; it ends as finished, failed or killed."""
    client = store.connect()
    run = Run(client, _create(client, experiment, origin, parent))
    with _closing(run):
        _describe(client, run.run_id, origin)
        sync_all(client)
        yield run


@contextmanager
def reopened_run(run_id: str) -> Iterator[Run]:
    """Reopen an existing run; it ends as finished, failed or killed."""
    client = store.connect()
    sync_all(client)  # unsent rows of its training come first
    run = Run(client, run_id)
    with _closing(run):
        _resume(run.outbox)
        sync(client, run.outbox)
        yield run


@contextmanager
def training_run(
    experiment: str, origin: "Origin", parent: str | None = None, run_id: str | None = None, *, monitored: bool = True
) -> Iterator[TrainingRun]:
    """Create a training run, or resume the interrupted run ``run_id``.

    Raises UserError if the store is not responding and a run has to be created; resuming does not need the store. If the
    store no longer has the run, a new one replaces it, gets its rows, and names it in a tag. The run ends as finished,
    failed or killed. ``monitored``: system metrics are logged, too.
    """
    store.check_file()
    client, resumed = _find(run_id) if run_id else (store.connect(), None)
    known = resumed
    if known is None:
        assert client is not None
        if run_id:
            origin = origin.instead_of(run_id)
        known = _create(client, experiment, origin, parent)
        if run_id:
            adopt(run_id, known)
    run = TrainingRun(known, client, monitored=monitored and enabled())
    with _closing(run):
        if resumed:
            _resume(run)
        elif client is not None:
            _describe(client, known, origin)
        yield run


@contextmanager
def _closing(run: Run | TrainingRun) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not run.decided:
            run.interrupted(error)
        raise
    finally:
        run.finish()


def _resume(outbox: Outbox) -> None:
    outbox.append(untag=["stopped", "failure"])
    outbox.append(tags={STARTED_IN: started_in()})
    outbox.append(status="RUNNING")


def _find(run_id: str) -> "tuple[MlflowClient | None, str | None]":
    """A client, if the store responds, and the run's id, unless the store does not have the run."""
    found: list[tuple[MlflowClient, bool]] = []

    def ask() -> None:
        with suppress(Exception):  # whatever the error is, the sender reports it
            client = store.connect()
            found.append((client, run_is_gone(client, run_id)))

    asking = threading.Thread(target=ask, name=f"find {run_id}", daemon=True)  # a server that hangs takes minutes
    asking.start()
    asking.join(HEALTHY_CLOSE)
    if not found:
        return None, run_id
    client, gone = found[0]
    if gone:
        print(f"run {run_id} is not in the store {store.where()}; a new run replaces it")
    return client, None if gone else run_id


def started_in() -> str:
    """The host and project folder of this process."""
    return f"{platform.node()}:{store.project_root()}"


def _create(client: "MlflowClient", experiment: str, origin: "Origin", parent: str | None) -> str:
    """The id of a new run, which has its tags from the start, so that no kill leaves one that nothing identifies."""
    tags = {
        **origin.tags,
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
    }
    tags[STARTED_IN] = started_in()
    if parent:
        tags["mlflow.parentRunId"] = parent
    created = client.create_run(store.experiment_id(client, experiment), run_name=origin.name, tags=tags)
    return str(created.info.run_id)


def _describe(client: "MlflowClient", run_id: str, origin: "Origin") -> None:
    """Log the params of a run, and the difference from the commit as an artifact."""
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    texts = [Param(name, one if isinstance(one, str) else json.dumps(one)) for name, one in origin.params.items()]
    try:
        for start in range(0, len(texts), PARAMS):
            client.log_batch(run_id, params=texts[start : start + PARAMS])
        if origin.diff:
            with TemporaryDirectory() as folder:
                file = Path(folder) / PATCH
                file.write_bytes(origin.diff)
                client.log_artifact(run_id, str(file))
    except MlflowException as error:
        raise UserError(f"MLflow rejects the parameters of run {run_id}: {first_line(error)}") from None


def _log_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    entries = [RunTag(name, value) for name, value in tags.items()]
    for start in range(0, len(entries), PARAMS):
        client.log_batch(run_id, tags=entries[start : start + PARAMS])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container the user may have no name
        return "unknown"


def run_exists(client: "MlflowClient", run_id: str) -> bool:
    """Whether the store has the run, and it is not deleted. Raises UserError if the store is not responding."""
    from mlflow.exceptions import MlflowException

    try:
        return not run_is_gone(client, run_id)
    except MlflowException as error:
        raise UserError(
            f"the MLflow store {store.where()} cannot be queried for run {run_id}: {first_line(error)}"
        ) from None


def child_runs(client: "MlflowClient", parent: str, status: str) -> list[tuple[str, dict[str, str]]]:
    """Ids and tags of a run's children with a status such as ``RUNNING``."""
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = '{status}'"
    return [(run.info.run_id, dict(run.data.tags)) for run in client.search_runs([experiment], query)]


def delete_runs(experiment: str, tags: Mapping[str, str]) -> None:
    """Delete the runs of an experiment that have all of these tags."""
    client = store.connect()
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    for run in client.search_runs([store.experiment_id(client, experiment)], query):
        client.delete_run(run.info.run_id)
