from typing import Any

import torch
from PIL import Image

from src.tracking.mlflow_recorder import MlflowRecorder
from src.training.recorder import Progress

PROGRESS = Progress(120, 200, 3840, 1.0)


class Notes:
    """A run that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.append((name, *values))


def recorder() -> tuple[MlflowRecorder, list[tuple[Any, ...]]]:
    notes = Notes()
    return MlflowRecorder(notes, grid_columns=2), notes.told  # type: ignore[arg-type]


def test_numbers_have_a_topic_and_a_step() -> None:
    news, told = recorder()
    news.losses(PROGRESS, {"loss": 0.5})
    news.scores(PROGRESS, {"score": 0.25})
    assert told == [
        ("metrics", {"loss": 0.5, "kimg": 3.84}, 120, "losses"),
        ("metrics", {"validation.score": 0.25}, 120, "validation"),
    ]


def test_samples_are_a_picture() -> None:
    news, told = recorder()
    news.samples(PROGRESS, torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    ((name, image, *rest),) = told
    assert (name, rest) == ("image", ["samples", 120])
    assert isinstance(image, Image.Image)


def test_events_are_tags_and_a_rollback_goes_back() -> None:
    news, told = recorder()
    news.event(PROGRESS, "saturated", "too good")
    news.event(PROGRESS, "rollback", "nan; back to step 120")
    assert told == [
        ("tags", {"event.0000120.saturated": "too good"}),
        ("tags", {"event.0000120.rollback": "nan; back to step 120"}),
        ("rewind", 120, "nan; back to step 120"),
    ]


def test_a_training_that_goes_on_says_when() -> None:
    news, told = recorder()
    news.resumed(PROGRESS)
    ((name, tags),) = told
    assert (name, list(tags)) == ("tags", ["resumed.0000120"])
    assert tags["resumed.0000120"].endswith("+00:00")
