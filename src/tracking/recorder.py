"""A training's news, written into its MLflow run."""

from collections.abc import Mapping

from torch import Tensor

from src.pictures.grids import grid_image
from src.tracking.runs import Run
from src.training.recorder import Progress, SilentRecorder


class MlflowRecorder(SilentRecorder):
    """Writes a training's news into a run."""

    def __init__(self, run: Run, grid_columns: int) -> None:
        self.run, self.grid_columns = run, grid_columns

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """One batch of metrics at the step."""
        self.run.metrics({**values, "kimg": progress.images / 1000}, progress.step)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """The same, under ``validation.``."""
        self.run.metrics({f"validation.{name}": value for name, value in values.items()}, progress.step)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """The grid as an image of the step."""
        image = grid_image(images, self.grid_columns)
        self.run.client.log_image(self.run.run_id, image, key="samples", step=progress.step)
