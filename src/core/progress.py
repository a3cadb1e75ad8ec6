"""Progress of long work: a live bar for a person at a terminal, plain lines for a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
LINE_SECONDS = 10.0
"""Plain lines come at most this often."""


@contextmanager
def transfer_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a transfer of ``total`` bytes (None: unknown) on standard error; yields ``advance(bytes)``."""
    if not sys.stderr.isatty():
        size = f", {total / 1e6:.1f} MB" if total else ""
        print(f"fetching {label}{size}", file=sys.stderr, flush=True)
        yield lambda _: None
        print(f"fetched {label}", file=sys.stderr, flush=True)
        return

    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)

        def advance(count: int) -> None:
            bar.update(task, advance=count)

        yield advance


def counted(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass ``total`` items on, and show on standard error how many have come."""
    if sys.stderr.isatty():
        from rich.progress import track

        yield from track(items, label, total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for number, item in enumerate(items, start=1):
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print(f"{label}: {number:,} of {total:,}", file=sys.stderr, flush=True)
        yield item


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
