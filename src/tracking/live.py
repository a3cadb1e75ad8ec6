"""A training as it is seen from outside: its folder of checkpoints, its MLflow run, and its line on the screen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..config.params import Params
from ..core import paths
from ..core.interrupts import Stopped
from ..core.progress import ProgressLine
from ..data.prepared import PreparedData
from ..networks.weights import content_hash
from ..training.console import ConsoleRecorder
from ..training.folder import TrainingFolder
from ..training.identity import identity, source_tags
from ..training.loop import GRID_COLUMNS, FitResult
from ..training.recorder import Recorder
from ..training.step.distributed import DistributedContext
from . import outputs
from .mlflow_recorder import MlflowRecorder
from .origin import Origin, run_name
from .recovery import abandon
from .runs import TrainingRun, training_run
from .store import project_root


def open_folder(params: Params, data: PreparedData, distributed: DistributedContext, *, resume: bool) -> TrainingFolder:
    """The folder of this training, emptied unless ``resume``; says what other unfinished trainings there are."""
    folder = TrainingFolder(
        project_root() / paths.CHECKPOINTS, identity(params, source_tags(params, data), distributed)
    )
    if not resume:
        if folder.run_id:
            abandon(folder.run_id)
        folder.clear()
    if not folder.checkpoints:
        for other, lines in folder.others().items():
            print(f"the unfinished training in {other} is another one and stays as it is: {'; '.join(lines)}")
    return folder


class LiveRun:
    """The recorders that show a training while it runs, and what is said of it at its end."""

    def __init__(self, run: TrainingRun, line: ProgressLine) -> None:
        self.run = run
        self.recorders: Sequence[Recorder] = (ConsoleRecorder(line), MlflowRecorder(run, GRID_COLUMNS))

    def finish(self, result: FitResult, files: Sequence[Path]) -> None:
        """Record the result, its files, and the generator's hash, by which the stage register finds the run."""
        best = {"best.score": result.best["score"], "best.step": result.best["step"]}
        self.run.metrics({**best, "images_per_second.mean": result.images_per_second}, 0, "best")
        for file in files:
            self.run.artifact(file)
        stopped = result.stopped or "reached train.kimg"
        self.run.tags({outputs.GENERATOR_TAG: content_hash(result.generator), "ended": stopped})
        print(f"{result.images_per_second:,.0f} images/s; best validation score {result.best['score']:.3f}")
        print(f"MLflow run {self.run.run_id}")


@contextmanager
def live_run(params: Params, data: PreparedData, folder: TrainingFolder) -> Iterator[LiveRun]:
    """Open the run of a training, or the one that its folder names, and a progress line; the run ends with the training."""
    origin = Origin.here(run_name(params), params.flat(), source_tags(params, data))
    with training_run(data.name, origin, run_id=folder.run_id) as run:
        folder.run_id = run.run_id
        outputs.record_dataset(run, data)
        with ProgressLine("train", params.train.kimg, "kimg") as line:
            try:
                yield LiveRun(run, line)
            except Stopped as stopped:
                print(f"{stopped}: its last checkpoint is in {folder.path}; the same command goes on from there")
                raise
