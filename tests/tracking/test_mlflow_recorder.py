from typing import Any

import torch
from PIL import Image

from src.tracking.mlflow_recorder import MlflowRecorder
from src.training.recorder import Progress

PROGRESS = Progress(120, 200, 3840, 1.0)


class Notes:
    """A run that only notes what is logged."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.append((name, *values))


def test_what_training_reports_is_logged() -> None:
    notes = Notes()
    recorder = MlflowRecorder(notes, grid_columns=2)  # type: ignore[arg-type]
    recorder.losses(PROGRESS, {"loss": 0.5})
    recorder.scores(PROGRESS, {"score": 0.25})
    recorder.event(PROGRESS, "saturated", "too good")
    recorder.event(PROGRESS, "rollback", "nan; back to step 120")
    assert notes.told == [
        ("metrics", {"loss": 0.5, "kimg": 3.84}, 120),
        ("metrics", {"validation.score": 0.25}, 120),
        ("tags", {"event.0000120.saturated": "too good"}),
        ("tags", {"event.0000120.rollback": "nan; back to step 120"}),
        ("rollback", 120, "nan; back to step 120"),
    ]
    notes.told.clear()
    recorder.samples(PROGRESS, torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    recorder.resumed(PROGRESS)
    (name, image, *rest), (tags, resumed) = notes.told
    assert (name, rest, isinstance(image, Image.Image)) == ("image", ["samples", 120], True)
    assert (tags, list(resumed), resumed["resumed.0000120"][-6:]) == ("tags", ["resumed.0000120"], "+00:00")
