"""The surroundings of the stage train: checkpoint folder, MLflow run, and progress line."""

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
from .runs import TrainingRun, training_run
from .store import project_root
from .sync import abandon


def open_folder(params: Params, data: PreparedData, distributed: DistributedContext, *, resume: bool) -> TrainingFolder:
    """The folder of this run's checkpoints, emptied unless ``resume``; prints other interrupted runs, which are kept."""
    folder = TrainingFolder(
        project_root() / paths.CHECKPOINTS, identity(params, source_tags(params, data), distributed)
    )
    if not resume:
        if folder.run_id:
            abandon(folder.run_id)
        folder.clear()
    if not folder.checkpoints:
        for other, lines in folder.others().items():
            print(f"keeping the interrupted run in {other}, which differs: {'; '.join(lines)}")
    return folder


class LiveRun:
    """The recorders of a run, and its final results."""

    def __init__(self, run: TrainingRun, line: ProgressLine) -> None:
        self.run = run
        self.recorders: Sequence[Recorder] = (ConsoleRecorder(line), MlflowRecorder(run, GRID_COLUMNS))

    def finish(self, result: FitResult, files: Sequence[Path]) -> None:
        """Log the result, its files, and the generator's hash, by which the stage register finds the run."""
        best = {"best.score": result.best["score"], "best.step": result.best["step"]}
        self.run.metrics({**best, "images_per_second.mean": result.images_per_second})
        for file in files:
            self.run.artifact(file)
        stopped = result.stopped or "reached train.kimg"
        self.run.tags({outputs.GENERATOR_TAG: content_hash(result.generator), "ended": stopped})
        print(f"{result.images_per_second:,.0f} images/s; best validation score {result.best['score']:.3f}")
        print(f"MLflow run {self.run.run_id}")


@contextmanager
def live_run(params: Params, data: PreparedData, folder: TrainingFolder) -> Iterator[LiveRun]:
    """Create a run, or resume the one named in the folder, with a progress line."""
    model, length = params.model, f"{params.train.kimg:,.4g} thousand images"
    text = (
        f"{model.family} networks, {model.conditioning} conditioning, {params.train.loss} loss: {length} of {data.name}"
    )
    tags = {**source_tags(params, data), "mlflow.note.content": text}
    origin = Origin.here(run_name(params), params.flat(), tags)
    with training_run(data.name, origin, run_id=folder.run_id) as run:
        folder.run_id = run.run_id
        outputs.record_dataset(run, data)
        with ProgressLine("train", params.train.kimg, "kimg") as line:
            try:
                yield LiveRun(run, line)
            except Stopped as stopped:
                print(f"{stopped}: the last checkpoint is in {folder.path}; run the same command to resume")
                raise
