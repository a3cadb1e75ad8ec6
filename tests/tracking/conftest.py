import time
from collections.abc import Callable
from pathlib import Path

from src.tracking.outbox import Outbox


def outboxes() -> list[str]:
    """Names of the folders in mlruns/outbox of the current folder."""
    return sorted(path.name for path in Path("mlruns/outbox").glob("*"))


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def flush(outbox: Outbox) -> None:
    """Wait until MLflow has all rows."""
    until(lambda: not outbox.waiting)
