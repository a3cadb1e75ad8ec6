from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from src.config.params import Data
from src.core.errors import UserError
from src.data.readers import read_idx, read_raw
from src.data.sources import fetch

from .conftest import TinyFiles, idx_bytes


def test_fashion_mnist_is_read_with_its_official_test_split(tiny: TinyFiles, tmp_path: Path) -> None:
    raw = read_raw("fashion-mnist", tiny.write(tmp_path / "raw"))
    assert raw.images.shape == (80, 1, 4, 4)
    assert raw.images.dtype == torch.uint8
    assert raw.images[60:].numpy().tobytes() == tiny.content["t10k-images-idx3-ubyte"][16:]
    assert raw.labels.tolist() == [*range(10)] * 8
    assert raw.labels.dtype == torch.int64
    assert raw.official_test.tolist() == [False] * 60 + [True] * 20
    assert (raw.info.title, raw.info.licence, raw.info.class_names[9]) == ("Fashion-MNIST", "MIT", "Ankle boot")


def test_digits_are_read_without_an_official_test_split(tmp_path: Path) -> None:
    fetch(Data(dataset="digits"), tmp_path)
    raw = read_raw("digits", tmp_path)
    assert raw.images.shape == (1797, 1, 8, 8)
    assert torch.bincount(raw.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert not raw.official_test.any()
    assert raw.info.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "not an IDX file"),
        (lambda data: data[:7], "not an IDX file"),
        (lambda data: b"\0\0\x0d\3" + data[4:], "not an IDX file of unsigned bytes in 3 dimensions"),
        (lambda data: data[:3] + b"\2" + data[4:], "not an IDX file of unsigned bytes in 3 dimensions"),
        (lambda data: data[:-1], "it has 47 bytes, but its header says 48"),
        (lambda data: data + b"\0", "it has 49 bytes, but its header says 48"),
        (lambda data: data[:4] + b"\xff" * 12, "it has 16 bytes, but its header says"),
        (lambda data: data[:4] + b"\0" * 12, "it has no values"),
    ],
)
def test_a_corrupt_idx_file_is_refused(tmp_path: Path, damage: Any, reason: str) -> None:
    path = tmp_path / "images"
    values = torch.arange(32, dtype=torch.uint8).reshape(2, 4, 4)
    path.write_bytes(idx_bytes(values))
    assert torch.equal(read_idx(path, 3), values)
    path.write_bytes(damage(idx_bytes(values)))
    with pytest.raises(UserError, match=reason) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_labels_that_do_not_fit_are_refused(tiny: TinyFiles, tmp_path: Path) -> None:
    raw = tiny.write(tmp_path / "raw")
    labels = raw / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(torch.zeros(59, dtype=torch.uint8)))
    with pytest.raises(UserError, match="60 images with 59 labels"):
        read_raw("fashion-mnist", raw)
    labels.write_bytes(idx_bytes(torch.full((60,), 10, dtype=torch.uint8)))
    with pytest.raises(UserError, match=r"a label is outside 0\.\.9"):
        read_raw("fashion-mnist", raw)


def test_digits_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    save_file({"images": torch.zeros(3, 8, 8), "labels": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"images must be uint8 \(N, C, H, W\)"):
        read_raw("digits", tmp_path)
