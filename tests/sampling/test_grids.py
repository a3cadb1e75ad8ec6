from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.sampling.grids import grid_image, save_best_and_worst, save_grid, save_pairs


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


def test_images_may_be_drawn_larger() -> None:
    images = random_images(2, 1, 28, 28)
    picture = np.asarray(grid_image(images, columns=2, cell_pixels=84))
    assert picture.shape == (12 + 84 + 12, 12 + 2 * 88 - 4 + 12, 3)
    assert (picture[12:96:3, 100:184:3, 0] == images[1, 0].numpy()).all()


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


def flat(*reds: int) -> torch.Tensor:
    """Images of 28 pixels, each of one red, which no text has."""
    images = torch.zeros(len(reds), 3, 28, 28, dtype=torch.uint8)
    images[:, 0] = torch.tensor(reds, dtype=torch.uint8)[:, None, None]
    return images


def corner(picture: np.ndarray, red: int) -> tuple[int, int]:
    """Row and column where the only square of 56 pixels of a red begins; there must be no more of it."""
    mask = (picture == (red, 0, 0)).all(axis=2)
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    assert mask[row : row + 56, column : column + 56].all()
    assert mask.sum() == 56**2
    return row, column


def test_a_pair_stands_above_each_other_in_every_row(tmp_path: Path) -> None:
    generated, training = flat(101, 102, 103, 104, 105), flat(151, 152, 153, 154, 155)
    save_pairs(generated, training, ["1.25"] * 5, tmp_path / "pairs.png", "Closest", columns=2)
    picture = read(tmp_path / "pairs.png")
    top, left = corner(picture, 101)
    assert top == 42  # below the title
    # A block is two images of 56, two gaps of 4 and a caption of 13, with 12 between blocks.
    down, across = 2 * 56 + 2 * 4 + 13 + 12, 60
    for index in range(5):
        place = (top + index // 2 * down, left + index % 2 * across)
        assert corner(picture, 101 + index) == place
        assert corner(picture, 151 + index) == (place[0] + 60, place[1])
        caption = picture[place[0] + 116 : place[0] + 133, place[1] : place[1] + 56]
        assert caption.min() < 100
    assert picture.shape == (top + 3 * down - 12 + 12, left + 2 * across - 4 + 12, 3)
    for row in range(3):
        for y in (top + row * down, top + row * down + 60):
            assert picture[y + 16 : y + 40, 12 : left - 12].min() < 100  # the row's label
            assert (picture[y + 44 : y + 60, 12 : left - 12] == 255).all()
    assert (picture[top + 2 * down :, left + across :] == 255).all()  # the place of the missing sixth pair
    assert (picture[:, left - 12 : left] == 255).all()


def test_pairs_of_random_images_keep_every_pixel(tmp_path: Path) -> None:
    images = random_images(2, 3, 56, 56)
    save_pairs(images[:1], images[1:], ["0.5"], tmp_path / "pairs.png", "")
    picture = read(tmp_path / "pairs.png")
    left = picture.shape[1] - 12 - 56
    for index in range(2):
        image = picture[12 + 60 * index : 68 + 60 * index, left : left + 56]
        assert (image == images[index].permute(1, 2, 0).numpy()).all()


def test_a_wide_caption_moves_the_pairs_apart(tmp_path: Path) -> None:
    save_pairs(flat(101, 102), flat(151, 152), ["a distance of 1.25", "2"], tmp_path / "pairs.png", "Closest")
    picture = read(tmp_path / "pairs.png")
    (row, first), (_, second) = corner(picture, 101), corner(picture, 102)
    assert second - first > 100
    middle = (first + second) // 2 + 28
    inked = (picture[row + 116 :] != 255).any(axis=(0, 2))
    assert inked[first - 15 : first].any()  # the caption is wider than its image, and does not reach the next
    assert not inked[middle - 4 : middle + 4].any()


def test_best_and_worst_are_two_halves_of_a_row(tmp_path: Path) -> None:
    best, worst = flat(*range(100, 106)), flat(*range(150, 156))
    save_best_and_worst(best, worst, tmp_path / "both.png", ("Bag", "Coat"), "Certain")
    picture = read(tmp_path / "both.png")
    top, left = corner(picture, 100)
    assert top == 42 + 15 + 2 * 4  # below the title and the headings
    half = 3 * 60 - 4 + 28
    for index in range(6):
        row, column = divmod(index, 3)
        assert corner(picture, 100 + index) == (top + 60 * row, left + 60 * column)
        assert corner(picture, 150 + index) == (top + 60 * row, left + half + 60 * column)
    assert picture.shape == (top + 2 * 60 - 4 + 12, left + 2 * half - 28 + 12, 3)
    assert (picture[42:, left + half - 28 : left + half] == 255).all()  # the gap between the halves
    for start in (left, left + half):
        assert picture[42 : top - 4, start : start + 80].min() < 100  # the heading
        assert (picture[top - 4 : top, start : start + 176] == 255).all()
    for row in range(2):
        assert picture[top + 60 * row : top + 60 * row + 56, 12 : left - 12].min() < 100
    assert (picture[:, -12:] == 255).all()


def test_headings_of_single_columns_do_not_meet(tmp_path: Path) -> None:
    save_best_and_worst(flat(100), flat(150), tmp_path / "both.png", ["Bag"], "")
    picture = read(tmp_path / "both.png")
    (top, left), (_, right) = corner(picture, 100), corner(picture, 150)
    assert right - left > 56 + 28
    assert (picture[: top - 4, right - 28 : right] == 255).all()
    assert (picture[:, -12:] == 255).all()


def test_pairs_and_halves_have_the_same_bytes_twice(tmp_path: Path) -> None:
    images, others = random_images(4, 1, 8, 8), random_images(8, 1, 8, 8)[4:]
    for name in ("a", "b"):
        save_pairs(images, others, list("1234"), tmp_path / f"pairs_{name}.png", "title")
        save_best_and_worst(images, others, tmp_path / f"both_{name}.png", ("one", "two"), "title")
    for kind in ("pairs", "both"):
        assert (tmp_path / f"{kind}_a.png").read_bytes() == (tmp_path / f"{kind}_b.png").read_bytes()


def test_pairs_and_halves_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    images, path = random_images(4, 1, 8, 8), tmp_path / "picture.png"
    with pytest.raises(ValueError, match=r"\(4, 1, 8, 8\) and \(3, 1, 8, 8\) are not of one shape"):
        save_pairs(images, images[:3], list("abcd"), path, "title")
    with pytest.raises(ValueError, match="3 captions for 4 pairs"):
        save_pairs(images, images, list("abc"), path, "title")
    with pytest.raises(ValueError, match="columns is 0"):
        save_pairs(images, images, list("abcd"), path, "title", columns=0)
    with pytest.raises(ValueError, match="uint8"):
        save_pairs(images, images.float(), list("abcd"), path, "title")
    with pytest.raises(ValueError, match="not of one shape"):
        save_best_and_worst(images, images[:2], path, ("a", "b"), "title")
    with pytest.raises(ValueError, match="4 images cannot be as many for each of 3 classes"):
        save_best_and_worst(images, images, path, ("a", "b", "c"), "title")
    with pytest.raises(ValueError, match="0 classes"):
        save_best_and_worst(images, images, path, (), "title")
    assert not path.exists()
