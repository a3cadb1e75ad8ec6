"""One MLflow run per training: opened by train, continued by evaluate and register."""

import getpass
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from src.errors import UserError, require_file
from src.params import Params
from src.tracking import lineage, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 100
"""MLflow takes at most this many params or tags in a call."""


class Run:
    """A run in the store, written through a client: no active run, no state of the module."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.ended = False

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters once; MLflow does not let them change."""
        from mlflow.entities import Param

        entries = [
            Param(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()
        ]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(self.run_id, params=entries[start : start + BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; the last value counts."""
        from mlflow.entities import RunTag

        entries = [RunTag(name, value) for name, value in values.items()]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(self.run_id, tags=entries[start : start + BATCH])

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

    def text(self, text: str, name: str) -> None:
        """Write a text artifact."""
        self.client.log_text(self.run_id, text, name)

    def dataset(self, name: str, digest: str, source: str, images: Tensor) -> None:
        """Record the training images, uint8 (N, C, H, W), as the run's input, under a digest of the caller's."""
        import numpy as np
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.types import Schema, TensorSpec

        schema = Schema([TensorSpec(np.dtype("uint8"), tuple(images.shape), "train_images")])
        entity = MetaDataset(resolve_dataset_source(source), name, digest, schema)._to_mlflow_entity()  # type: ignore[abstract]
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end("FAILED", {"failure": reason[:5000]})

    def kill(self, reason: str) -> None:
        """End the run as killed (stopped on purpose, before its end), with the reason as a tag."""
        self._end("KILLED", {"stopped": reason[:5000]})

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        self.tags(tags)
        self.client.set_terminated(self.run_id, status)
        self.ended = True


@contextmanager
def new_run(
    experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str | None = None
) -> Iterator[Run]:
    """Open a run with its parameters and tags and what is known of the code; finished, failed or killed at the end."""
    client = store.connect()
    shown = {"mlflow.user": _user(), "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    nesting = {"mlflow.parentRunId": parent} if parent else {}
    created = client.create_run(store.experiment_id(client, experiment), run_name=name, tags={**shown, **nesting})
    run = Run(client, created.info.run_id)
    with _closing(run):
        run.params(params)
        run.tags({**lineage.code_tags(), **tags})
        if diff := lineage.working_tree_diff():
            run.text(diff + "\n", "git.diff")
        yield run


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        return "unknown"


def run_id_of(summary: Path) -> str:
    """The id of the run that made a training's files. Raises UserError for a missing or corrupt summary."""
    try:
        return str(json.loads(require_file(summary, "train").read_text(encoding="utf-8"))["run_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{summary} is corrupt ({error!r}); make it again with `dvc repro --force train`") from None


@contextmanager
def continued_run(run_id: str, experiment: str, params: Params) -> Iterator[Run]:
    """Open the run that train made. Where the store no longer has it, a new one takes its place and says so in a tag."""
    if not run_exists(run_id):
        print(f"run {run_id} is not in the store {store.tracking_uri()}; a new run takes its place")
        with new_run(experiment, "restored", params.flat(), {"restored.from.run": run_id}) as run:
            yield run
        return
    with reopened_run(run_id) as run:
        yield run


def run_exists(run_id: str) -> bool:
    """Whether the store has the run, and it is not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(store.connect().get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


@contextmanager
def reopened_run(run_id: str) -> Iterator[Run]:
    """Open a run that exists; finished, failed or killed at the end."""
    run = Run(store.connect(), run_id)
    run.client.update_run(run_id, status="RUNNING")
    with _closing(run):
        yield run


@contextmanager
def _closing(run: Run) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        run.client.set_terminated(run.run_id, "KILLED")
        raise
    except BaseException as error:
        if not run.ended:
            run.fail(f"{type(error).__name__}: {error}")
        raise
    if not run.ended:
        run.client.set_terminated(run.run_id, "FINISHED")
