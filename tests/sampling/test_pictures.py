from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.sampling.draw import generate
from src.sampling.grids import save_grid
from src.sampling.pictures import draw_samples, draw_walks
from src.sampling.plan import Plan
from tests.networks.tiny import pair

NAMES = ("Ankle boot", "Bag", "Coat")
GENERATOR, _ = pair("dcgan", size=28)


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        result = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            result.append(np.asarray(image.convert("L")).astype(int))
        return result


def near(shown: np.ndarray, image: torch.Tensor) -> bool:
    """Whether a part of a GIF, which has 64 greys, shows an image."""
    return bool(np.abs(shown - image[0].numpy().astype(int)).max() <= 2)


@pytest.mark.parametrize(
    ("plan", "columns", "row_labels"),
    [
        (Plan((2, 0), 8, 4, 0), 4, ["Coat", "Ankle boot"]),
        (Plan((0, 1, 2), 16, None, 0), 4, None),
        (Plan((1,), 41, 41, 0), 6, None),
        (Plan((1,), 1600, None, 0), 40, None),
    ],
)
def test_a_grid_has_a_row_a_class_or_is_square(
    tmp_path: Path, plan: Plan, columns: int, row_labels: list[str] | None
) -> None:
    draw_samples(plan, GENERATOR, NAMES, tmp_path / "drawn.png")
    save_grid(plan.draw(GENERATOR, torch.arange(plan.count)), tmp_path / "grid.png", columns, row_labels)
    assert (tmp_path / "drawn.png").read_bytes() == (tmp_path / "grid.png").read_bytes()


def test_a_gif_shows_one_image_after_the_other(tmp_path: Path) -> None:
    plan = Plan((2, 1), 5, None, 7)
    draw_samples(plan, GENERATOR, NAMES, tmp_path / "some.gif")
    shown = frames(tmp_path / "some.gif")
    assert len(shown) == 5
    for frame, image in zip(shown, plan.draw(GENERATOR, torch.arange(5)), strict=True):
        assert frame.shape == (12 + 168 + 12, 12 + 168 + 12)
        assert near(frame[12:180:6, 12:180:6], image)
    with Image.open(tmp_path / "some.gif") as image:
        assert (image.info["loop"], image.info["duration"]) == (0, 400)


def test_walks_are_rows_of_a_grid(tmp_path: Path) -> None:
    start, end = Plan((2, 0), 2, None, 0), Plan((0,), 2, None, 1)
    draw_walks(start, end, 5, GENERATOR, NAMES, tmp_path / "walks.png")
    with Image.open(tmp_path / "walks.png") as image:
        picture = np.asarray(image.convert("L"))
    left = picture.shape[1] - 12 - 5 * 60 + 4
    cells = [[picture[12 + 60 * y :, left + 60 * x :][:56:2, :56:2] for x in range(5)] for y in range(2)]
    numbers = torch.arange(2)
    for row, first, last in zip(
        cells,
        generate(GENERATOR, torch.tensor([2, 0]), numbers),
        generate(GENERATOR, torch.zeros(2, dtype=torch.int64), 2**32 + numbers),
        strict=True,
    ):
        assert (row[0] == first[0].numpy()).all()
        assert (row[-1] == last[0].numpy()).all()
        steps = [np.abs(one.astype(int) - other).mean() for one, other in pairwise(row)]
        assert max(steps) < np.abs(row[0].astype(int) - row[-1]).mean()
    # "Coat to Ankle boot" is wider than "Ankle boot".
    rows = [np.flatnonzero((picture[12 + 60 * y :, : left - 12][:56] < 128).any(axis=0)) for y in range(2)]
    assert rows[0][0] < 20
    assert rows[1][0] > rows[0][0] + 30
    assert rows[0][-1] > left - 20


@pytest.mark.parametrize("per_class", [None, 2])
def test_walks_go_there_and_back_together_in_a_gif(tmp_path: Path, per_class: int | None) -> None:
    start, end = Plan((2, 0), 4, per_class, 0), Plan((2, 0), 4, per_class, 1)
    draw_walks(start, end, 6, GENERATOR, NAMES, tmp_path / "walks.gif")
    shown = frames(tmp_path / "walks.gif")
    assert len(shown) == 10
    for there, back in ((1, 9), (2, 8), (4, 6)):
        assert (shown[there] == shown[back]).all()
    numbers = torch.arange(4)
    left = shown[0].shape[1] - 12 - 2 * 88 + 4
    assert (left > 12) == (per_class is not None)  # room for the names of the rows
    for frame, plan in ((shown[0], start), (shown[5], end)):
        for place, image in enumerate(plan.draw(GENERATOR, numbers)):
            y, x = 12 + 88 * (place // 2), left + 88 * (place % 2)
            assert near(frame[y : y + 84 : 3, x : x + 84 : 3], image)


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_samples(Plan((0, 1), 6, None, 0), GENERATOR, NAMES, tmp_path / f"{name}.gif")
        draw_walks(Plan((0,), 3, None, 0), Plan((1,), 3, None, 0), 4, GENERATOR, NAMES, tmp_path / f"{name}_walk.GIF")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert (tmp_path / "a_walk.GIF").read_bytes() == (tmp_path / "b_walk.GIF").read_bytes()
