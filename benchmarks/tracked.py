"""What it costs to record a training in MLflow."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.machine import synchronize
from src.config.params import Params
from src.core.device import resolve
from src.tracking.mlflow_recorder import MlflowRecorder
from src.tracking.origin import Origin
from src.tracking.runs import training_run
from src.training.loop import GRID_COLUMNS, TrainingData, fit
from src.training.recorder import Recorder

SCORES = {"score": 0.0, **{f"metric_{number}": 0.0 for number in range(15)}}
"""About as many numbers as the real judge returns."""


@contextmanager
def temporary_store() -> Iterator[Path]:
    """A fresh SQLite store in a folder that goes away; the environment is afterwards as it was."""
    import mlflow

    names = ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.pop(name, None) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder  # the project's folder, for the store and the artifacts
        try:
            yield Path(folder)
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
            mlflow.set_registry_uri(None)  # type: ignore[arg-type]
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


@contextmanager
def tracked_run(params: Params) -> Iterator[Recorder]:
    """A recorder that writes into a run of the store, as in the train stage; all is written when it closes."""
    with training_run("benchmark", Origin.here(params.model.family, params.flat(), {"benchmark": "true"})) as run:
        yield MlflowRecorder(run, GRID_COLUMNS)


def tracking_cost(params: Params, data: TrainingData, runs: int) -> list[float]:
    """How much longer a tracked training takes than the same one without, in percent, for each pair of trainings.

    The whole of it is timed, from opening the run to closing it, but importing MLflow and creating the store are not:
    they come once in a process, or once in a project.
    """
    with temporary_store():
        short = params.replace({"train.kimg": 2 * params.train.batch_size / 1000})
        seconds_of_training(short, data, tracked=True)
        costs = []
        for number in range(runs):
            # The other way round each time, so that a machine that grows slower favours neither.
            order = (False, True) if number % 2 == 0 else (True, False)
            seconds = {tracked: seconds_of_training(params, data, tracked=tracked) for tracked in order}
            costs.append(100 * (seconds[True] / seconds[False] - 1))
    return costs


def seconds_of_training(params: Params, data: TrainingData, *, tracked: bool) -> float:
    """The wall time of one training, tracked in the current store or not."""
    device = resolve(params.train).device
    synchronize(device)
    began = time.perf_counter()
    with tracked_run(params) if tracked else nullcontext(Recorder()) as recorder:
        fit(params, data, recorder)
    synchronize(device)
    return time.perf_counter() - began


def no_judge(generator: Any) -> Mapping[str, float]:
    """Scores that cost nothing, so that the training is all that is measured."""
    return SCORES
