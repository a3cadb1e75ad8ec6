"""MLflow runs: opened, continued, and ended as finished, failed or killed."""

import getpass
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..core import interrupts
from ..core.errors import UserError, first_line
from . import processes, store
from .delivery import LONGEST_TEXT, TAGS, log_dataset, run_is_gone
from .outbox import Outbox
from .recovery import adopt, deliver_leftovers

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image
    from torch import Tensor

    from .origin import Origin

PATCH = "git.diff"
"""artifact of a run: what differed from its commit"""


class _Ending:
    """How a run ends."""

    ended = False

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end("FAILED", {"failure": reason[:LONGEST_TEXT]})

    def kill(self, reason: str) -> None:
        """End the run as killed (stopped on purpose, before its end), with the reason as a tag."""
        self._end("KILLED", {"stopped": reason[:LONGEST_TEXT]})

    def finish(self) -> None:
        """End the run as it should."""
        self._end("FINISHED", {})

    def interrupted(self, error: BaseException) -> None:
        """End the run for an exception that nobody has expected: killed for a signal, failed for any other."""
        if isinstance(error, KeyboardInterrupt):
            self.kill(error.reason if isinstance(error, interrupts.Stopped) else "Ctrl-C")
        else:
            self.fail(f"{type(error).__name__}: {error}")

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        raise NotImplementedError


class Run(_Ending):
    """A run in the store, written through a client: no active run, no state of the module."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters once; MLflow does not let them change."""
        from mlflow.entities import Param

        entries = [
            Param(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()
        ]
        for start in range(0, len(entries), TAGS):
            self.client.log_batch(self.run_id, params=entries[start : start + TAGS])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; the last value counts."""
        from mlflow.entities import RunTag

        entries = [RunTag(name, value) for name, value in values.items()]
        for start in range(0, len(entries), TAGS):
            self.client.log_batch(self.run_id, tags=entries[start : start + TAGS])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers at a step, in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder's contents into the run."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder)
        else:
            self.client.log_artifact(self.run_id, str(path), folder)

    def patch(self, diff: bytes) -> None:
        """Keep what differs from the commit as artifact ``git.diff``; nothing for a clean tree."""
        if diff:
            with TemporaryDirectory() as folder:
                file = Path(folder) / PATCH
                file.write_bytes(diff)
                self.artifact(file)

    def text(self, text: str, name: str) -> None:
        """Write a text artifact."""
        self.client.log_text(self.run_id, text, name)

    def image(self, image: "Image", key: str, step: int) -> None:
        """Record a picture under a key, at a step."""
        self.client.log_image(self.run_id, image, key=key, step=step)

    def dataset(self, name: str, digest: str, source: str, images: "Tensor") -> None:
        """Record the training images, uint8 (N, C, H, W), as the run's input, under a digest of the caller's."""
        log_dataset(self.client, self.run_id, name, digest, source, images.shape)

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        self.ended = True
        try:
            self.tags(tags)
            self.client.set_terminated(self.run_id, status)
        except MlflowException as error:
            raise UserError(
                f"MLflow does not answer, and does not know that run {self.run_id} has ended as {status}: "
                f"{first_line(error)}"
            ) from None


class TrainingRun(_Ending):
    """The run of a training, which never waits for MLflow: all of this returns at once, whether the store answers or not.

    Numbers and pictures have a topic, and are taken once a topic and step: a training that goes on from a checkpoint may
    tell again what it has told already.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox, self.run_id = outbox, outbox.run_id
        self.how: tuple[str, Mapping[str, str]] = "FINISHED", {}

    def metrics(self, values: Mapping[str, float], step: int = 0, topic: str | None = None) -> None:
        """Record numbers at a step. Without a topic, their names together are one."""
        plain = {name: float(value) for name, value in values.items()}
        self.outbox.say_once("metrics", topic or " ".join(sorted(plain)), step, values=plain)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; the last value counts."""
        self.outbox.say("tags", values={name: value[:LONGEST_TEXT] for name, value in values.items()})

    def image(self, image: "Image", key: str, step: int) -> None:
        """Record a picture under a key, at a step."""
        self.outbox.say_image(image, key, step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder's contents into the run, as they are now."""
        self.outbox.say_artifact(path, folder)

    def dataset(self, name: str, digest: str, source: str, images: "Tensor") -> None:
        """Record the training images, uint8 (N, C, H, W), as the run's input, under a digest of the caller's."""
        self.outbox.say_once("dataset", "dataset", 0, name=name, digest=digest, source=source, shape=list(images.shape))

    def rewind(self, step: int, reason: str = "") -> None:
        """The training has gone back to ``step`` on purpose: what comes after it will be told anew, and is news."""
        self.outbox.rewind(step, reason)

    def flush(self, timeout: float) -> bool:
        """Wait until MLflow has everything; whether it has."""
        return self.outbox.flush(timeout)

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        # It is told on leaving, so that nothing comes after it: the last grid of a trial that was ended, for example.
        self.how, self.ended = (status, tags), True


def recorded_params(params: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that a run has recorded as text, as values by dotted name; those that are not known now are left out."""
    from ..config.params import Params

    values = {}
    for name, default in Params().flat().items():
        if name in params:
            text = params[name]
            plain = isinstance(default, str) or (default is None and text != "null")
            values[name] = text if plain else json.loads(text)
    return values


@contextmanager
def new_run(experiment: str, origin: "Origin", parent: str | None = None) -> Iterator[Run]:
    """Open a run that knows where it comes from; finished, failed or killed at the end."""
    run = _created(experiment, origin, parent)
    deliver_leftovers(run.client)
    with _closing(run):
        yield run


@contextmanager
def training_run(
    experiment: str,
    origin: "Origin",
    parent: str | None = None,
    run_id: str | None = None,
    *,
    resumable: bool = True,
) -> Iterator[TrainingRun]:
    """Open a new run for a training, or go on with the run ``run_id`` of one that was interrupted.

    To create a run the store must be there, or it is a UserError; to go on with one it need not. Where the store no longer
    has the run, a new one takes its place, is told what the other was told, and names it in a tag.

    At the end the run is finished, failed or killed. After an exception the outbox is kept, so that the training can go on
    without saying anything twice; not after ``fail`` and ``kill``, and not if it is not ``resumable``.
    """
    client, continued = None, run_id is not None and _goes_on(run_id)
    if run_id is None or not continued:
        created = _created(experiment, origin.instead_of(run_id) if run_id else origin, parent)
        if run_id:
            adopt(run_id, created.run_id)
        client, run_id = created.client, created.run_id
        deliver_leftovers(client)
    run = TrainingRun(Outbox(run_id, client))
    if continued:
        run.outbox.say("untag", names=["stopped", "failure"])
        run.tags({processes.TAG: processes.Process.current().tag})
        run.outbox.say("status", status="RUNNING")
    final = True
    try:
        yield run
    except BaseException as error:
        if not run.ended:
            run.interrupted(error)
            final = not resumable
        raise
    finally:
        run.outbox.end(*run.how, final=final)
        run.outbox.close()


def _goes_on(run_id: str) -> bool:
    """Whether to go on with a run: yes, unless the store answers and does not have it."""
    try:
        client = store.connect()
        gone = run_is_gone(client, run_id)
    except Exception:  # a server or database out of reach has many faces; the outbox will tell
        return True
    if gone:
        print(f"run {run_id} is not in the store {store.where()}; a new run takes its place")
    else:
        deliver_leftovers(client)
    return not gone


def _created(experiment: str, origin: "Origin", parent: str | None) -> Run:
    """A new run that knows where it comes from."""
    client = store.connect()
    shown = {"mlflow.user": _user(), "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    shown[processes.TAG] = processes.Process.current().tag
    nesting = {"mlflow.parentRunId": parent} if parent else {}
    created = client.create_run(
        store.experiment_id(client, experiment), run_name=origin.name, tags={**shown, **nesting}
    )
    run = Run(client, created.info.run_id)
    with _failing(run):
        run.params(origin.params)
        run.tags(origin.tags)
        run.patch(origin.diff)
    return run


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        return "unknown"


def run_exists(client: "MlflowClient", run_id: str) -> bool:
    """Whether the store has the run, and it is not deleted. Raises UserError where it does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        return not run_is_gone(client, run_id)
    except MlflowException as error:
        raise UserError(
            f"the MLflow store {store.where()} cannot be asked for run {run_id}: {first_line(error)}"
        ) from None


def child_runs(client: "MlflowClient", parent: str, status: str) -> list[tuple[str, dict[str, str]]]:
    """Ids and tags of a run's children that have a status, for example ``RUNNING``."""
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = '{status}'"
    return [(run.info.run_id, dict(run.data.tags)) for run in client.search_runs([experiment], query)]


@contextmanager
def reopened_run(run_id: str) -> Iterator[Run]:
    """Open a run that exists; finished, failed or killed at the end."""
    run = Run(store.connect(), run_id)
    deliver_leftovers(run.client)  # the end of its training may be among them, and comes before
    run.tags({processes.TAG: processes.Process.current().tag})
    for name in {"stopped", "failure"} & run.client.get_run(run_id).data.tags.keys():
        run.client.delete_tag(run_id, name)
    run.client.update_run(run_id, status="RUNNING")
    with _closing(run):
        yield run


@contextmanager
def _closing(run: Run) -> Iterator[None]:
    with _failing(run):
        yield
    if not run.ended:
        run.finish()


@contextmanager
def _failing(run: Run) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not run.ended:
            run.interrupted(error)
        raise
