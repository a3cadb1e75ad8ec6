"""What training reports, and what may stop it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """The state of the training after ``step`` of ``steps``."""

    step: int
    steps: int
    images: int
    """real images shown so far"""
    seconds: float
    """training time so far, scoring and pictures included"""


class Recorder:
    """Receives what training reports, in order. Values are plain floats by name. This one ignores everything."""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Losses, accuracies, learning rates and images/s, averaged since the last call."""

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Validation scores of the averaged generator; ``score`` is the one that is minimised."""

    def samples(self, progress: Progress, images: Tensor) -> None:
        """uint8 (N, C, H, W): the same latents and labels each time."""

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """An alarm, or ``rollback``: training has returned to ``progress`` and repeats the steps after it."""

    def resumed(self, progress: Progress) -> None:
        """Training resumes from a checkpoint; steps after it may be reported a second time."""

    def stop_reason(self) -> str | None:
        """Asked after each score but the last; a sentence ends the training there."""
        return None


class Recorders(Recorder):
    """Several recorders as one."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self.recorders = recorders

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Pass on."""
        for recorder in self.recorders:
            recorder.losses(progress, values)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Pass on."""
        for recorder in self.recorders:
            recorder.scores(progress, values)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Pass on."""
        for recorder in self.recorders:
            recorder.samples(progress, images)

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """Pass on."""
        for recorder in self.recorders:
            recorder.event(progress, kind, message)

    def resumed(self, progress: Progress) -> None:
        """Pass on."""
        for recorder in self.recorders:
            recorder.resumed(progress)

    def stop_reason(self) -> str | None:
        """The first reason that one of them has."""
        return next((reason for recorder in self.recorders if (reason := recorder.stop_reason())), None)
