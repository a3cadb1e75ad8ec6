import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.reports.plots import Panel, save_class_panels, save_confusion, save_history

BLUE, ORANGE, GREEN = (31, 119, 180), (255, 127, 14), (44, 160, 44)
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
    save_history(LOSSES[:1], SCORES[:1], tmp_path / "history.png")
    assert pixels(tmp_path / "history.png").shape == (396, 1320, 3)


def test_the_history_of_a_generator_without_labels_has_no_joint_distance(tmp_path: Path) -> None:
    scores = [{name: value for name, value in row.items() if name != "frechet_joint_distance"} for row in SCORES]
    save_history(LOSSES, scores, tmp_path / "history.png")
    picture = pixels(tmp_path / "history.png")
    save_history(LOSSES, [{**row, "frechet_classifier_distance": 1.0} for row in scores], tmp_path / "changed.png")
    assert (pixels(tmp_path / "changed.png") != picture).any(), "the other distance is drawn"


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


def save_bars(
    values: Mapping[str, Sequence[float]],
    names: Sequence[str],
    path: Path,
    title: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    limit: float | None = 1.02,
) -> None:
    """A picture of one panel."""
    save_class_panels([Panel(title, values, intervals, limit)], names, path)


@pytest.mark.parametrize("classes", [2, 12])
def test_pictures_grow_with_the_classes(classes: int, tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(classes)]
    save_confusion(torch.eye(classes, dtype=torch.int64) * 7, names, tmp_path / "confusion.png", "a title")
    values = {name: [0.5] * classes for name in ("precision", "recall", "f1")}
    save_bars(values, names, tmp_path / "bars.png", "a title")
    height, width, _ = pixels(tmp_path / "confusion.png").shape
    assert (height, width) == (int(110 * (2.2 + 0.55 * classes)), int(110 * (2.8 + 0.55 * classes)))
    height, width, _ = pixels(tmp_path / "bars.png").shape
    assert (height, width) == (418, int(110 * max(6, 2 + 0.9 * classes)))


def extent(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many rows there are from the first that has a colour to the last; 0 without any."""
    rows = (picture == colour).all(axis=2).any(axis=1).nonzero()[0]
    return int(rows[-1] - rows[0] + 1) if len(rows) else 0


def axis_rows(picture: np.ndarray) -> list[tuple[int, int]]:
    """First and last row of the frames around the axes, from their black lines across half of the picture and more."""
    lines = ((picture < 60).all(axis=2).mean(axis=1) > 0.5).nonzero()[0].tolist()
    edges = [row for row in lines if row - 1 not in lines]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_error_bars_reach_from_low_to_high(tmp_path: Path) -> None:
    values, names = {"generated": [0.4] * 3, "floor": [0.0] * 3}, list("abc")
    save_bars(values, names, tmp_path / "plain.png", "title")
    save_bars(values, names, tmp_path / "bars.png", "title", {"generated": [(0.2, 0.8)] * 3})
    plain, bars = pixels(tmp_path / "plain.png"), pixels(tmp_path / "bars.png")
    assert plain.shape == bars.shape
    changed = (plain != bars).any(axis=(1, 2)).nonzero()[0]
    ((top, bottom),) = axis_rows(plain)
    height = bottom - top
    assert abs(bottom - changed[0] - 0.8 / 1.02 * height) < 3
    assert abs(bottom - changed[-1] - 0.2 / 1.02 * height) < 3
    # Thin, with a cap at either end: no bar has moved.
    assert 0 < (plain != bars).any(axis=(0, 2)).mean() < 0.1


def test_an_interval_may_lie_beside_its_value_or_be_unknown(tmp_path: Path) -> None:
    above, unknown = (0.7, 0.8), (float("nan"), float("nan"))
    save_bars({"real": [0.4, 0.4]}, list("ab"), tmp_path / "bars.png", "title", {"real": [above, unknown]})
    save_bars({"real": [0.4, 0.4]}, list("ab"), tmp_path / "plain.png", "title")
    plain, bars = pixels(tmp_path / "plain.png"), pixels(tmp_path / "bars.png")
    ((top, bottom),) = axis_rows(plain)
    changed = (plain != bars).any(axis=(1, 2)).nonzero()[0]
    assert abs(bottom - changed[0] - 0.8 / 1.02 * (bottom - top)) < 3
    assert abs(bottom - changed[-1] - 0.7 / 1.02 * (bottom - top)) < 3
    assert not (plain != bars)[:, plain.shape[1] // 2 + 20 :].any()


def test_the_limit_is_the_top_of_the_axis(tmp_path: Path) -> None:
    heights = {}
    for limit in (40.0, 20.0, None):
        save_bars({"real": [10.0, 10.0]}, list("ab"), tmp_path / "bars.png", "title", limit=limit)
        picture = pixels(tmp_path / "bars.png")
        ((top, bottom),) = axis_rows(picture)
        # Not the legend's patch, above the axes.
        heights[limit] = extent(picture[top : bottom + 1], BLUE) / (bottom - top)
    assert abs(heights[40.0] - 0.25) < 0.02
    assert abs(heights[20.0] - 0.5) < 0.02
    assert abs(heights[None] - 1 / 1.05) < 0.02  # matplotlib's margin


def test_a_bar_above_the_limit_has_its_value_written_on_it(tmp_path: Path) -> None:
    pictures = []
    for value in (1.0, 137.2, 202.4):
        save_bars({"floor": [value, 0.5]}, list("ab"), tmp_path / "bars.png", "title", limit=1.0)
        pictures.append(pixels(tmp_path / "bars.png"))
    full, first, second = pictures
    assert full.shape == first.shape == second.shape
    changed = (full != first).any(axis=2)
    assert 20 < changed.sum() < 1000
    assert (first != second).any()
    ((top, _),) = axis_rows(full)
    rows = changed.any(axis=1).nonzero()[0]
    assert top < rows[0] < top + 10
    assert not changed[:, full.shape[1] // 2 :].any()


PANELS = [
    Panel("F1", {"generated": [0.5, 0.7], "floor": [0.1, 0.1]}, {"generated": [(0.4, 0.6), (0.6, 0.8)]}),
    Panel("Distance", {"generated": [3.0, 9.0], "real (ceiling)": [1.0, 2.0], "floor": [8.0, 9.0]}, limit=None),
    Panel("F1 (GAN-train)", {"floor": [0.5, 0.5]}),
]


def test_panels_stand_under_each_other_with_one_colour_a_series(tmp_path: Path) -> None:
    save_class_panels(PANELS, ("Bag", "Coat"), tmp_path / "panels.png")
    picture = pixels(tmp_path / "panels.png")
    assert picture.shape == (990, 660, 3)
    axes = axis_rows(picture)
    assert len(axes) == 3
    heights = [bottom - top for top, bottom in axes]
    assert max(heights) - min(heights) <= 1
    # Colours go by where a series is named first: generated, floor, real.
    blues, oranges, greens = (
        [extent(picture[top : bottom + 1], colour) / (bottom - top) for top, bottom in axes]
        for colour in (BLUE, ORANGE, GREEN)
    )
    assert blues == pytest.approx([0.7 / 1.02, 1 / 1.05, 0], abs=0.02)
    assert oranges == pytest.approx([0.1 / 1.02, 1 / 1.05, 0.5 / 1.02], abs=0.02)
    assert greens == pytest.approx([0, 2 / 9 / 1.05, 0], abs=0.02)
    legend = picture[: axes[0][0]]
    assert all(extent(legend, colour) for colour in (BLUE, ORANGE, GREEN))
    # The classes are named below the last panel only; between two, there is no more than the next one's title.
    assert axes[1][0] - axes[0][1] == axes[2][0] - axes[1][1] < 50
