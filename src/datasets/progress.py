"""Progress of a transfer: a bar for a person at a terminal, plain lines for a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
