"""The user's own images: of any size and mode, with and without class folders, some of them damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from src.config.params import Data
from src.core.errors import UserError
from src.data.own import clusters, find_images, read_image
from src.data.prepared import load
from src.data.readers import read_raw
from src.data.sources import fetch
from src.data.splitting import split_and_save


def picture(
    path: Path, mode: str = "RGB", size: tuple[int, int] = (20, 12), colour: Any = None, **options: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    defaults: dict[str, Any] = {"RGB": (255, 0, 0), "L": 100}
    Image.new(mode, size, colour if colour is not None else defaults[mode]).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten pictures each, of different sizes, modes and formats."""
    for number in range(10):
        picture(tmp_path / "own" / "cats" / f"{number}.png", "RGB", (20 + number, 12), (200, 10 * number, 0))
        picture(tmp_path / "own" / "dogs" / "deeper" / f"{number}.jpg", "L", (16, 30), 10 * number)
    return tmp_path / "own"


def data(folder: Path, **changes: Any) -> Data:
    return Data(dataset="folder", folder=str(folder), image_size=8, **changes)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_a_class_becomes_a_dataset(
    folder: Path, tmp_path: Path, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    fetch(data(folder, channels=channels), raw)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "20 images of" in line
    assert f"(8 x 8, {'grey' if channels == 1 else 'colour'}; 2 classes from folders; 0 left out)" in line
    found = read_raw("folder", raw)
    assert found.info.class_names == ("cats", "dogs")
    assert found.images.shape == (20, channels, 8, 8)
    assert found.labels.tolist() == [0] * 10 + [1] * 10
    if channels == 3:
        assert found.images[3, :, 4, 4].tolist() == [200, 30, 0]
    assert not found.official_test.any()
    card = split_and_save(found, data(folder, channels=channels), tmp_path / "prepared")
    assert (card["labels_from"], card["images_left_out"]) == ("folders", 0)
    assert load(tmp_path / "prepared").class_names == ("cats", "dogs")


def test_images_are_cut_to_their_middle_square_and_resized(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255  # the middle square is white
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert int(read_image(tmp_path / "wide.png", 10, 3).min()) == 255
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    assert int(read_image(tmp_path / "tall.png", 20, 1).min()) >= 200


@pytest.mark.parametrize(
    ("mode", "colour", "name", "options", "expected"),
    [
        ("RGB", (10, 20, 30), "a.png", {}, [10, 20, 30]),
        ("L", 77, "a.png", {}, [77, 77, 77]),
        ("1", 1, "a.png", {}, [255, 255, 255]),
        ("RGBA", (200, 0, 0, 255), "a.png", {}, [200, 0, 0]),
        ("RGBA", (200, 0, 0, 0), "a.png", {}, [255, 255, 255]),
        ("LA", (60, 0), "a.png", {}, [255, 255, 255]),
        ("P", 0, "a.gif", {}, [0, 0, 0]),
        ("CMYK", (0, 0, 0, 255), "a.tiff", {}, [0, 0, 0]),
        ("I;16", 257 * 40, "a.png", {}, [40, 40, 40]),
        ("RGB", (9, 9, 9), "a.bmp", {}, [9, 9, 9]),
        ("RGB", (9, 9, 9), "a.webp", {"lossless": True}, [9, 9, 9]),
    ],
)
def test_every_mode_is_read(
    mode: str, colour: Any, name: str, options: dict[str, Any], expected: list[int], tmp_path: Path
) -> None:
    path = picture(tmp_path / name, mode, colour=colour, **options)
    found = read_image(path, 8, 3)
    assert (found.shape, found.dtype) == ((3, 8, 8), torch.uint8)
    assert found.flatten(1).unique(dim=1).tolist() == [[one] for one in expected]


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[0] = 200  # the first row is bright, and the camera was turned
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = read_image(tmp_path / "turned.png", 8, 1)[0]
    assert found[:, -1].tolist() == [200] * 8
    assert int(found[:, :-1].max()) == 0


def test_files_that_cannot_be_read_are_reported_and_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cats" / "broken.png").write_bytes(b"no image")
    whole = (folder / "cats" / "0.png").read_bytes()
    (folder / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cats" / "empty.jpg").touch()
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden.png").write_bytes(b"")
    picture(folder / "alone.png")
    fetch(data(folder), tmp_path / "raw")
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "raw" / "own.json").read_text())
    assert report["images"] == 20
    assert report["left_out"].keys() == {"cats/broken.png", "cats/cut.png", "cats/empty.jpg", "notes.txt", "alone.png"}
    assert report["left_out"]["alone.png"] == "beside the class folders"
    assert report["left_out"]["notes.txt"] == "not an image by its name"
    assert "cannot identify image file" in report["left_out"]["cats/broken.png"]
    for name in ("cats/broken.png", "cats/cut.png", "cats/empty.jpg"):
        assert f"left out: {name}: " in out
    assert "5 left out" in out
    assert read_raw("folder", tmp_path / "raw").facts["images_left_out"] == 5


def test_images_without_class_folders_get_clusters(tmp_path: Path) -> None:
    digits = load_digits()
    chosen = digits.target < 3
    for number, pixels in enumerate(digits.images[chosen][:150]):
        path = tmp_path / "own" / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(path)
    ours = data(tmp_path / "own", channels=1, clusters=3)
    fetch(ours, tmp_path / "raw")
    found = read_raw("folder", tmp_path / "raw")
    assert found.info.class_names == ("cluster 0", "cluster 1", "cluster 2")
    assert found.facts["labels_from"].startswith("k-means")
    truth = torch.from_numpy(digits.target[chosen][:150])
    purity = sum(int(torch.bincount(truth[found.labels == one]).max()) for one in range(3)) / 150
    assert purity > 0.85
    again = clusters(found.images, 3, ours.split_seed)
    assert torch.equal(again, found.labels)


def test_one_class_folder_is_none(folder: Path) -> None:
    (folder / "dogs").rename(folder.parent / "elsewhere")
    found = find_images(folder)
    assert found.class_names == ()
    assert len(found.files) == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"data\.folder: .*own has no images; it needs one folder of images for each class"),
        (lambda folder: (folder / "a.txt").write_text(""), "has no images"),
        (
            lambda folder: (folder / "a.png").write_bytes(b"x"),
            r"none of 1 images can be read; the first is a\.png: cannot",
        ),
        (
            lambda folder: [picture(folder / f"{n}.png") for n in range(5)],
            "10 clusters of 5 images; there must be at least twice",
        ),
        (
            lambda folder: [
                picture(folder / "a" / "1.png"),
                (folder / "b").mkdir(),
                (folder / "b/1.png").write_bytes(b""),
            ],
            r"no image of class b can be read; see .*own\.json",
        ),
    ],
)
def test_a_folder_that_gives_no_dataset_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    make(tmp_path / "own")
    with pytest.raises(UserError, match=message):
        fetch(data(tmp_path / "own"), tmp_path / "raw")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        read_image(picture(tmp_path / "large.png"), 8, 3)
