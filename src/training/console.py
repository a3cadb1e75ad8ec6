"""Progress of a run on the terminal."""

from collections.abc import Mapping

from ..core.progress import ProgressLine
from .recorder import Progress, Recorder


class ConsoleRecorder(Recorder):
    """Shows a run on a ProgressLine that counts thousands of images."""

    def __init__(self, line: ProgressLine) -> None:
        self.line = line
        self.rate, self.score = "", ""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Show the rate and the losses."""
        self.rate = (
            f"{values['images_per_second']:,.0f} images/s  "
            f"loss D {values['loss_discriminator']:.3f} G {values['loss_generator']:.3f}"
        )
        self.line.update(progress.images / 1000, f"{self.rate}  {self.score}")

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Show the validation score."""
        self.score = f"validation score {values['score']:.3f}, coverage {values['coverage']:.3f}"
        self.line.update(progress.images / 1000, f"{self.rate}  {self.score}", now=True)

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """Print the event on a line of its own."""
        self.line.say(f"{kind} at step {progress.step}: {message}")

    def resumed(self, progress: Progress) -> None:
        """Print the step from which the run resumes."""
        self.line.go_on_from(progress.images / 1000)
        self.line.say(f"resuming from the checkpoint at step {progress.step} of {progress.steps}")
