"""Progress of a transfer, or of many small pieces of work: a bar for a person at a terminal, plain lines for a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
LINE_SECONDS = 10


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
    from rich.console import Console

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
        from rich.console import Console
        from rich.progress import track

        yield from track(items, label, total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for number, item in enumerate(items, start=1):
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print(f"{label}: {number:,} of {total:,}", file=sys.stderr, flush=True)
        yield item
