from pathlib import Path

import pytest

from src.tracking import outbox
from src.tracking.outbox import Pace
from tests.tuning.conftest import empty_store, place

__all__ = ["empty_store", "outboxes", "place", "quick"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for longer than a test likes."""
    monkeypatch.setattr(outbox, "PACE", Pace(0.0, 0.05, 0.2, 10.0, 0.3))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def outboxes() -> list[str]:
    """Names of the folders in mlruns/outbox of the current folder."""
    return sorted(path.name for path in Path("mlruns/outbox").glob("*"))
