"""The stage that draws: what it makes of the other stages' files, and what it says of broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from src.data.prepared import PreparedData, Split
from src.reports import pictures
from tests.conftest import Project, copy_of

PICTURES = {
    "data/prepared": {"grid.png"},
    "models/classifier": {"confusion.png"},
    "models/gan": {"history.png"},
    "models/evaluation": {
        *("best_and_worst.png", "confusion.png", "interpolation.png", "nearest_training.png", "per_class.png"),
        *("samples.png", "training.gif"),
    },
}


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    return copy_of(project, tmp_path / "copy", ".dvc", ".git", "mlruns")


def test_the_same_files_give_the_same_pictures(copy: Project) -> None:
    made = {
        path: path.read_bytes()
        for folder, names in PICTURES.items()
        for path in [copy.folder / folder / name for name in names]
    }
    made |= {path: path.read_bytes() for path in (copy.folder / "models/gan/samples").iterdir()}
    for path in made:
        path.unlink()
    (copy.folder / "models/gan/samples/step_9999999.png").write_bytes(b"of an earlier training")
    copy.module("report")
    assert {path: path.read_bytes() for path in made} == made
    scores = json.loads((copy.folder / "models/gan/history.json").read_text())["scores"]
    names = {path.name for path in (copy.folder / "models/gan/samples").iterdir()}
    assert names == {f"step_{step:07d}.png" for step in (0, *(row["step"] for row in scores))}
    with Image.open(copy.folder / "data/prepared/grid.png") as picture:
        assert picture.height == 12 + 30 + 10 * 60 - 4 + 12


def test_the_images_in_a_picture_are_those_of_the_evaluation(copy: Project) -> None:
    shown = load_file(copy.folder / "models/evaluation/images.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in shown.items()} == {
        "samples": (120, 1, 8, 8),
        "interpolation": (120, 1, 8, 8),
        "best": (60, 1, 8, 8),
        "worst": (60, 1, 8, 8),
        "nearest": (24, 1, 8, 8),
        "nearest_training": (24, 1, 8, 8),
        "nearest_distance": (24,),
    }
    distances = shown["nearest_distance"]
    assert torch.equal(distances, distances.sort().values)


def test_the_grid_takes_as_many_of_each_class_as_the_smallest_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(pictures, "save_grid", lambda *arguments: drawn.append(arguments))
    labels = torch.tensor([1, 0, 1, 1, 0, 1, 1])
    split = Split(torch.arange(7, dtype=torch.uint8)[:, None, None, None].expand(7, 1, 8, 8), labels)
    pictures.draw_data(PreparedData(split, split, split, "two", ("zero", "one"), "hash"), "Two", tmp_path)
    ((images, path, columns, names, title),) = drawn
    assert images[:, 0, 0, 0].tolist() == [1, 4, 0, 2]
    assert (path, columns, names) == (tmp_path / "grid.png", 2, ("zero", "one"))
    assert title == "Two: training images"


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("models/evaluation/scorecard.json", "evaluate"),
        ("models/evaluation/images.safetensors", "evaluate"),
        ("models/gan/history.json", "train"),
        ("models/gan/samples.safetensors", "train"),
        ("models/classifier/report.json", "train_classifier"),
        ("data/prepared/card.json", "prepare"),
    ],
)
def test_a_broken_or_missing_file_is_a_sentence(copy: Project, file: str, stage: str) -> None:
    path = copy.folder / file
    path.unlink()
    path.write_bytes(bytes(range(256)))
    result = copy.module("report", check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file} is corrupt: ")
    assert result.stderr.endswith(f"; recreate it with `dvc repro --force --single-item {stage}`\n")
    path.unlink()
    result = copy.module("report", check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file} is missing; create it with `dvc repro {stage}`")
