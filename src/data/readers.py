"""Read a dataset's raw files into tensors."""

import gzip
import math
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError, require_file
from .info import DATASETS, DIGITS_FILE, OWN_FILE, DatasetInfo, dataset_info
from .own import load_own

UNSIGNED_BYTE = 0x08
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_RECORD = 1 + 3 * 32 * 32
"""bytes of an image"""


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
    facts: Mapping[str, Any] = field(default_factory=dict)
    """what else there is to tell of them"""


def read_raw(dataset: str, folder: Path) -> RawImages:
    """Read what ``fetch`` left in ``folder``.

    Raises UserError when a file is missing or corrupt, or when the folder holds another dataset.
    """
    info = dataset_info(dataset)
    _check_presence(info, folder)
    facts: Mapping[str, Any] = {}
    if dataset == "folder":
        info, images, labels, facts = _read_own(info, folder)
        official_test = torch.zeros(len(labels), dtype=torch.bool)
    elif dataset == "digits":
        images, labels, official_test = _read_digits(folder)
    elif dataset == "cifar10":
        images, labels, official_test = _read_cifar10(folder / info.files[0])
    else:
        images, labels, official_test = _read_four_idx(folder, info.files)
    classes = len(info.class_names)
    if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64 or labels.ndim != 1:
        raise UserError(f"{folder}: corrupt: uint8 (N, C, H, W) images and int64 (N,) labels are due{_AGAIN}")
    if not 0 < len(labels) == len(images):
        raise UserError(f"{folder}: corrupt: {len(images)} images with {len(labels)} labels{_AGAIN}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise UserError(f"{folder}: corrupt: a label is outside 0..{classes - 1}{_AGAIN}")
    return RawImages(info, images, labels, official_test, facts)


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


def _read_four_idx(folder: Path, names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Images and labels of the training split, then those of the test split, as MNIST and its successors have them."""
    train_images, train_labels, test_images, test_labels = (
        read_idx(folder / name, dimensions) for name, dimensions in zip(names, (3, 1, 3, 1), strict=True)
    )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise UserError(f"{folder}: corrupt: {len(images)} images with {len(labels)} labels{_AGAIN}")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(f"{folder}: corrupt: the train and test images differ in size{_AGAIN}")
    official_test = torch.arange(len(train_images) + len(test_images)) >= len(train_images)
    images = torch.cat([train_images, test_images]).unsqueeze(1)
    return images, torch.cat([train_labels, test_labels]).long(), official_test


def _read_cifar10(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Five training batches and a test batch out of the archive; an image is a byte of label, then its three planes."""
    batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
    contents = []
    try:
        with tarfile.open(path) as archive:
            for name in (*batches, "test_batch.bin"):
                member = archive.extractfile(f"{CIFAR10_FOLDER}/{name}")
                assert member is not None, f"{name} is not a file"
                contents.append(member.read())
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError, AssertionError) as error:
        raise UserError(f"{path}: corrupt ({error}){_AGAIN}") from None
    if any(len(content) % CIFAR10_RECORD for content in contents):
        raise UserError(f"{path}: corrupt: a batch is not made of {CIFAR10_RECORD} bytes an image{_AGAIN}")
    records = torch.frombuffer(bytearray(b"".join(contents)), dtype=torch.uint8).reshape(-1, CIFAR10_RECORD)
    first_test = len(records) - len(contents[-1]) // CIFAR10_RECORD
    images = records[:, 1:].reshape(-1, 3, 32, 32).contiguous()
    return images, records[:, 0].long(), torch.arange(len(records)) >= first_test


def _read_own(info: DatasetInfo, folder: Path) -> tuple[DatasetInfo, Tensor, Tensor, dict[str, Any]]:
    from safetensors import SafetensorError

    path = folder / OWN_FILE
    try:
        images, labels, about = load_own(path)
        info = replace(info, class_names=tuple(about["class_names"]))
        facts = {name: about[name] for name in ("labels_from", "images_left_out")}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: corrupt ({error}){_AGAIN}") from None
    return info, images, labels, facts


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
    """Read an IDX file of unsigned bytes, the format of MNIST, gzipped or not, as uint8 with that many dimensions.

    The format: two zero bytes, the type, the number of dimensions, each size as a big-endian uint32, then the values.
    Raises UserError when the file cannot be read, or type, dimensions or length are not exactly as due.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: corrupt ({error}){_AGAIN}") from None
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
