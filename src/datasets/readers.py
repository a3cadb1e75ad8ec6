"""Read a dataset's raw files into tensors."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from src.datasets.info import DATASETS, DIGITS_FILE, FASHION_MNIST_FILES, DatasetInfo, dataset_info
from src.errors import UserError, require_file

UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class RawImages:
    """All images of a dataset, before any split.

    ``images`` is uint8 (N, C, H, W), ``labels`` int64 (N,) in 0..classes-1, and ``official_test`` bool (N,): True where
    the publisher's own test split has the image, False throughout where there is none.
    """

    info: DatasetInfo
    images: Tensor
    labels: Tensor
    official_test: Tensor


def read_raw(dataset: str, folder: Path) -> RawImages:
    """Read what ``fetch`` left in ``folder``.

    Raises UserError when a file is missing or corrupt, or when the folder holds another dataset.
    """
    info = dataset_info(dataset)
    _check_presence(info, folder)
    images, labels, official_test = _read_digits(folder) if dataset == "digits" else _read_fashion_mnist(folder)
    classes = len(info.class_names)
    if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64 or labels.ndim != 1:
        raise UserError(f"{folder}: corrupt: uint8 (N, C, H, W) images and int64 (N,) labels are due{_AGAIN}")
    if not 0 < len(labels) == len(images):
        raise UserError(f"{folder}: corrupt: {len(images)} images with {len(labels)} labels{_AGAIN}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise UserError(f"{folder}: corrupt: a label is outside 0..{classes - 1}{_AGAIN}")
    return RawImages(info, images, labels, official_test)


_AGAIN = "; run `python -m src.download` again"


def _check_presence(info: DatasetInfo, folder: Path) -> None:
    missing = [name for name in info.files if not (folder / name).is_file()]
    if not missing:
        return
    for other in DATASETS.values():
        if other is not info and any((folder / name).is_file() for name in other.files):
            raise UserError(
                f"{folder} holds {other.name}, but params.yaml says data.dataset: {info.name}; "
                "run `dvc repro download` or `python -m src.download`, or change data.dataset"
            )
    require_file(folder / missing[0], "download")


def _read_fashion_mnist(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    train_images, train_labels, test_images, test_labels = (
        read_idx(folder / file.name, dimensions)
        for file, dimensions in zip(FASHION_MNIST_FILES, (3, 1, 3, 1), strict=True)
    )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise UserError(f"{folder}: corrupt: {len(images)} images with {len(labels)} labels{_AGAIN}")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(f"{folder}: corrupt: the train and test images differ in size{_AGAIN}")
    official_test = torch.arange(len(train_images) + len(test_images)) >= len(train_images)
    images = torch.cat([train_images, test_images]).unsqueeze(1)
    return images, torch.cat([train_labels, test_labels]).long(), official_test


def _read_digits(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / DIGITS_FILE
    try:
        tensors = load_file(path)
        images, labels = tensors["images"], tensors["labels"]
    except (SafetensorError, OSError, KeyError) as error:
        raise UserError(f"{path}: corrupt ({error}){_AGAIN}") from None
    return images, labels, torch.zeros(len(labels), dtype=torch.bool)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes, the format of MNIST, as uint8 with that many dimensions.

    The format: two zero bytes, the type, the number of dimensions, each size as a big-endian uint32, then the values.
    Raises UserError when the file cannot be read, or type, dimensions or length are not exactly as due.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic or len(content) < header:
        raise UserError(f"{path}: corrupt: not an IDX file of unsigned bytes in {dimensions} dimensions{_AGAIN}")
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    due = header + math.prod(sizes)
    if len(content) != due:
        raise UserError(f"{path}: corrupt: {len(content):,} bytes where its header announces {due:,}{_AGAIN}")
    if not math.prod(sizes):
        raise UserError(f"{path}: corrupt: it holds no values{_AGAIN}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(sizes)
