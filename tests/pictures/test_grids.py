from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.pictures.grids import grid_image, save_grid


def random_images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_images_are_enlarged_by_a_whole_factor_onto_white(tmp_path: Path) -> None:
    images = random_images(5, 1, 28, 28)
    save_grid(images, tmp_path / "new" / "grid.png", columns=3)
    picture = read(tmp_path / "new" / "grid.png")
    # 12 margin, cells of 28 x 2 with gaps of 4: three across, two down.
    assert picture.shape == (12 + 2 * 60 - 4 + 12, 12 + 3 * 60 - 4 + 12, 3)
    assert (picture[12:68:2, 12:68:2, 0] == images[0, 0].numpy()).all()
    assert (picture[13:69:2, 13:69:2, 2] == images[0, 0].numpy()).all()
    assert (picture[72:128:2, 72:128:2, 1] == images[4, 0].numpy()).all()
    assert (picture[:12] == 255).all()
    assert (picture[:, 68:72] == 255).all()
    assert (picture[72:, 132:] == 255).all()  # the place of the missing sixth image
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["grid.png"]


def test_colour_keeps_its_channels() -> None:
    images = random_images(2, 3, 64, 64)
    picture = np.asarray(grid_image(images, columns=2))
    assert (picture[12:76, 12:76] == images[0].permute(1, 2, 0).numpy()).all()


def test_labels_and_title_make_room_and_leave_ink(tmp_path: Path) -> None:
    images = random_images(4, 1, 8, 8)
    plain = np.asarray(grid_image(images, 2))
    save_grid(images, tmp_path / "grid.png", 2, row_labels=("Ankle boot", "Bag"), title="Two rows")
    picture = read(tmp_path / "grid.png")
    added_rows, added_columns = picture.shape[0] - plain.shape[0], picture.shape[1] - plain.shape[1]
    assert added_rows == 30
    assert added_columns > 60
    assert (picture[12 + added_rows :, 12 + added_columns :] == plain[12:, 12:]).all()
    assert picture[12:30].min() < 100  # the title
    assert picture[added_rows + 12 : added_rows + 68, : added_columns - 12].min() < 100  # the first label
    assert (picture[:, :12] == 255).all()


def test_a_long_title_is_not_cut_off() -> None:
    images = random_images(1, 1, 8, 8)
    picture = np.asarray(grid_image(images, 1, title="A title that is much wider than one picture"))
    assert picture.shape[1] > 300
    assert (picture[:, -12:] == 255).all()


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_grid(random_images(4, 1, 8, 8), tmp_path / name, 2, ("one", "two"), "title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_cannot_be_drawn_is_refused() -> None:
    images = random_images(4, 1, 8, 8)
    with pytest.raises(ValueError, match="uint8"):
        grid_image(images.float(), 2)
    with pytest.raises(ValueError, match="1 or 3"):
        grid_image(images.expand(4, 2, 8, 8), 2)
    with pytest.raises(ValueError, match="uint8"):
        grid_image(images[:0], 2)
    with pytest.raises(ValueError, match="columns is 0"):
        grid_image(images, 0)
    with pytest.raises(ValueError, match="3 row labels for 2 rows"):
        grid_image(images, 2, row_labels=("a", "b", "c"))
