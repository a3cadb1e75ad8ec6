import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.pictures.plots import save_class_bars, save_confusion, save_history

LOSSES = [
    {"kimg": float(n), "loss_discriminator": 1.0, "loss_generator": 2.0, "real_accuracy": 0.7, "fake_accuracy": 0.6}
    for n in range(1, 5)
]
SCORES = [
    {
        "kimg": float(n),
        "precision": 0.5,
        "recall": 0.1,
        "coverage": 0.3,
        "frechet_joint_distance": 9.0 / n,
        "frechet_classifier_distance": 3.0 / n,
    }
    for n in (2, 4)
]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pixels(path: Path) -> np.ndarray:
    """The picture, which must be a PNG and have some ink."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        content = np.asarray(image.convert("RGB"))
    share = float((content != 255).any(axis=2).mean())
    assert 0.01 < share < 0.9
    return content


def test_the_history_is_three_plots_side_by_side(tmp_path: Path) -> None:
    save_history(LOSSES, SCORES, tmp_path / "history.png")
    picture = pixels(tmp_path / "history.png")
    assert picture.shape == (396, 1320, 3)
    thirds = [part for part in np.split(picture, 3, axis=1) if (part != 255).any()]
    assert len(thirds) == 3
    for name in ("loss_generator", "fake_accuracy", "frechet_joint_distance"):
        losses, scores = ([{**row, name: 0.8 * row.get(name, 0)} for row in rows] for rows in (LOSSES, SCORES))
        save_history(losses, scores, tmp_path / "changed.png")
        assert (pixels(tmp_path / "changed.png") != picture).any(), name


def test_a_history_of_one_row_can_be_drawn(tmp_path: Path) -> None:
    save_history(LOSSES[:1], SCORES[:1], tmp_path / "history.png")
    assert pixels(tmp_path / "history.png").shape == (396, 1320, 3)


def test_a_confusion_with_an_empty_row_can_be_drawn(tmp_path: Path) -> None:
    names = ["T-shirt/top", "Trouser", "Bag"]
    diagonal = torch.tensor([[9, 1, 0], [0, 0, 0], [0, 0, 50]])
    save_confusion(diagonal, names, tmp_path / "diagonal.png", "title")
    save_confusion(diagonal.flip(1), names, tmp_path / "flipped.png", "title")
    first, second = pixels(tmp_path / "diagonal.png"), pixels(tmp_path / "flipped.png")
    assert first.shape == second.shape == (423, 489, 3)
    assert (first != second).any()
    colours, counts = np.unique(first.reshape(-1, 3), axis=0, return_counts=True)
    shares = {tuple(colour): count / counts.sum() for colour, count in zip(colours.tolist(), counts, strict=True)}
    assert shares[247, 251, 255] > 0.25  # the colour of zero: six of nine cells, those of the empty row with them
    # A share does not depend on how many images a class has.
    save_confusion(diagonal * torch.tensor([[10], [1], [2]]), names, tmp_path / "more.png", "title")
    assert (pixels(tmp_path / "more.png") == first).all()


@pytest.mark.parametrize("classes", [2, 12])
def test_pictures_grow_with_the_classes(classes: int, tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(classes)]
    save_confusion(torch.eye(classes, dtype=torch.int64) * 7, names, tmp_path / "confusion.png", "a title")
    values = {name: [0.5] * classes for name in ("precision", "recall", "f1")}
    save_class_bars(values, names, tmp_path / "bars.png", "a title")
    height, width, _ = pixels(tmp_path / "confusion.png").shape
    assert (height, width) == (int(110 * (2.2 + 0.55 * classes)), int(110 * (2.8 + 0.55 * classes)))
    height, width, _ = pixels(tmp_path / "bars.png").shape
    assert (height, width) == (418, int(110 * (2 + 0.9 * classes)))


def test_bars_show_their_heights(tmp_path: Path) -> None:
    for name, height in (("low", 0.1), ("high", 0.9)):
        save_class_bars({"real": [height] * 4}, list("abcd"), tmp_path / f"{name}.png", "title")
    blue = [int((pixels(tmp_path / f"{name}.png") == (31, 119, 180)).all(axis=2).sum()) for name in ("low", "high")]
    assert 4 < blue[1] / blue[0] < 12
