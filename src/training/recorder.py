"""What the training tells the world, and what the world may answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where the training stands after ``step`` of ``steps``."""

    step: int
    steps: int
    images: int
    """real images shown so far"""
    seconds: float
    """training time so far, scoring and pictures included"""


class Recorder(Protocol):
    """Receives the training's news in order. Values are plain floats by name."""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Losses, accuracies, learning rates and images/s, averaged since the last call."""

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Validation scores of the averaged generator; ``score`` is the one that is minimised."""

    def samples(self, progress: Progress, images: Tensor) -> None:
        """uint8 (N, C, H, W): the same latents and labels each time."""

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """An alarm, or ``rollback``: the training has gone back to ``progress`` and does the steps after it again."""

    def resumed(self, progress: Progress) -> None:
        """The training goes on from a checkpoint; news of steps after it may come a second time."""

    def stop_reason(self) -> str | None:
        """Asked after each score but the last; a sentence ends the training there."""


class SilentRecorder:
    """A recorder that ignores everything: a base for those that care about a part."""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Ignore."""

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Ignore."""

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Ignore."""

    def event(self, progress: Progress, kind: str, message: str) -> None:
        """Ignore."""

    def resumed(self, progress: Progress) -> None:
        """Ignore."""

    def stop_reason(self) -> str | None:
        """Never stop."""
        return None


class Recorders:
    """Several recorders as one; the first reason to stop counts."""

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
