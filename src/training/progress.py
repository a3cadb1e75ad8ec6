"""What a person sees of a long piece of work: a live bar at a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from src.training import recorder

LINE_SECONDS = 10.0
"""Plain lines come at most this often."""


class ProgressLine:
    """Shows ``done`` of ``total`` with the rate and the time left; a context manager."""

    def __init__(self, title: str, total: float, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.live = sys.stdout.isatty()
        self.started = self.last_line = time.perf_counter()
        self.done_before = 0.0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self.bar = Progress(*columns, console=Console(), disable=not self.live)
        self.task = self.bar.add_task(title, total=total, text="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def go_on_from(self, done: float) -> None:
        """An earlier process has done so much: the time left follows from what this one does."""
        self.done_before, self.started = done, time.perf_counter()
        self.bar.update(self.task, completed=done)

    def say(self, text: str) -> None:
        """A line of its own, above a live bar."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, done: float, text: str, *, now: bool = False) -> None:
        """Show where the work stands; ``now`` prints a plain line even if the last one was just printed."""
        self.bar.update(self.task, completed=done, text=text)
        clock = time.perf_counter()
        if self.live or not (now or clock - self.last_line >= LINE_SECONDS):
            return
        self.last_line = clock
        here = done - self.done_before
        left = (clock - self.started) * (self.total - done) / here if here > 0 else 0.0
        line = f"{self.title} {done:g}/{self.total:g} {self.unit} ({done / self.total:.0%})  {text}"
        print(f"{line}  {int(left) // 60}:{int(left) % 60:02d} left", flush=True)


class ConsoleRecorder(recorder.SilentRecorder):
    """Shows a GAN's training on a ProgressLine that counts thousands of images."""

    def __init__(self, line: ProgressLine) -> None:
        self.line = line
        self.rate, self.score = "", ""

    def losses(self, progress: recorder.Progress, values: Mapping[str, float]) -> None:
        """Show the rate and the losses."""
        self.rate = (
            f"{values['images_per_second']:,.0f} images/s  "
            f"loss D {values['loss_discriminator']:.3f} G {values['loss_generator']:.3f}"
        )
        self.line.update(progress.images / 1000, f"{self.rate}  {self.score}")

    def scores(self, progress: recorder.Progress, values: Mapping[str, float]) -> None:
        """Show the validation score."""
        self.score = f"validation score {values['score']:.3f}, coverage {values['coverage']:.3f}"
        self.line.update(progress.images / 1000, f"{self.rate}  {self.score}", now=True)

    def event(self, progress: recorder.Progress, kind: str, message: str) -> None:
        """Say it at once."""
        self.line.say(f"{kind} at step {progress.step}: {message}")

    def resumed(self, progress: recorder.Progress) -> None:
        """Say where the training goes on."""
        self.line.go_on_from(progress.images / 1000)
        self.line.say(f"going on from the checkpoint at step {progress.step} of {progress.steps}")
