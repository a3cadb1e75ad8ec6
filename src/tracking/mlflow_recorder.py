"""Logs what training reports to its MLflow run."""

from collections.abc import Mapping
from datetime import UTC, datetime

from torch import Tensor

from ..sampling.grids import grid_image
from ..training.recorder import Progress, Recorder
from .runs import TrainingRun


class MlflowRecorder(Recorder):
    """Logs losses and scores as metrics, samples as images, and events as tags."""

    def __init__(self, run: TrainingRun, grid_columns: int) -> None:
        self.run, self.grid_columns = run, grid_columns

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Metrics at the step."""
        self.run.metrics({**values, "kimg": progress.images / 1000}, progress.step)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """The same, under ``validation.``."""
        self.run.metrics({f"validation.{name}": value for name, value in values.items()}, progress.step)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """The grid as an image of the step."""
        self.run.image(grid_image(images, self.grid_columns), "samples", progress.step)

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """A tag. After a rollback, later steps are logged again."""
        self.run.tags({f"event.{progress.step:07d}.{kind}": message})
        if kind == "rollback":
            self.run.rollback(progress.step, message)

    def resumed(self, progress: Progress) -> None:
        """A tag with the time."""
        self.run.tags({f"resumed.{progress.step:07d}": datetime.now(UTC).isoformat(timespec="seconds")})
