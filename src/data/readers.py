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
from ..core.files import corrupt, read_about, read_tensors
from .info import DATASETS, DIGITS_FILE, OWN_FILE, DatasetInfo, dataset_info

STAGE = "download"
"""what makes the files that are read here"""
UNSIGNED_BYTE = 0x08
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_RECORD = 1 + 3 * 32 * 32
"""bytes of an image"""


@dataclass(frozen=True)
class RawImages:
    """All images of a dataset, before any split.

    ``images`` is uint8 (N, C, H, W), ``labels`` int64 (N,) in 0..classes-1, and ``official_test`` bool (N,): True for the
    images of the publisher's test split, if there is one.
    """

    info: DatasetInfo
    images: Tensor
    labels: Tensor
    official_test: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict)
    """further entries of the data card"""


def read_raw(dataset: str, folder: Path) -> RawImages:
    """Read what ``fetch`` left in ``folder``.

    Raises UserError if a file is missing or corrupt, or the folder has another dataset.
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
        raise corrupt(folder, STAGE, "images must be uint8 (N, C, H, W), and labels int64 (N,)")
    if not 0 < len(labels) == len(images):
        raise corrupt(folder, STAGE, f"{len(images)} images with {len(labels)} labels")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise corrupt(folder, STAGE, f"a label is outside 0..{classes - 1}")
    return RawImages(info, images, labels, official_test, facts)


def _check_presence(info: DatasetInfo, folder: Path) -> None:
    missing = [name for name in info.files if not (folder / name).is_file()]
    if not missing:
        return
    for other in DATASETS.values():
        if other is not info and any((folder / name).is_file() for name in other.files):
            raise UserError(
                f"{folder} has {other.name}, but params.yaml has data.dataset: {info.name}; run `dvc repro download` or "
                "`python -m src.download`, or change data.dataset"
            )
    require_file(folder / missing[0], "download")


def _read_four_idx(folder: Path, names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Images and labels of the training split and the test split, as in MNIST and its successors."""
    train_images, train_labels, test_images, test_labels = (
        read_idx(folder / name, dimensions) for name, dimensions in zip(names, (3, 1, 3, 1), strict=True)
    )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise corrupt(folder, STAGE, f"{len(images)} images with {len(labels)} labels")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise corrupt(folder, STAGE, "the train and test images differ in size")
    official_test = torch.arange(len(train_images) + len(test_images)) >= len(train_images)
    images = torch.cat([train_images, test_images]).unsqueeze(1)
    return images, torch.cat([train_labels, test_labels]).long(), official_test


def _read_cifar10(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Five training batches and a test batch of the archive; an image is a byte of label, then its three planes."""
    batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
    contents = []
    try:
        with tarfile.open(path) as archive:
            for name in (*batches, "test_batch.bin"):
                member = archive.extractfile(f"{CIFAR10_FOLDER}/{name}")
                assert member is not None, f"{name} is not a file"
                contents.append(member.read())
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError, AssertionError) as error:
        raise corrupt(path, STAGE, error) from None
    if any(len(content) % CIFAR10_RECORD for content in contents):
        raise corrupt(path, STAGE, f"a batch is not a multiple of {CIFAR10_RECORD} bytes, the size of an image")
    records = torch.frombuffer(bytearray(b"".join(contents)), dtype=torch.uint8).reshape(-1, CIFAR10_RECORD)
    first_test = len(records) - len(contents[-1]) // CIFAR10_RECORD
    images = records[:, 1:].reshape(-1, 3, 32, 32).contiguous()
    return images, records[:, 0].long(), torch.arange(len(records)) >= first_test


def _read_own(info: DatasetInfo, folder: Path) -> tuple[DatasetInfo, Tensor, Tensor, dict[str, Any]]:
    path, facts = folder / OWN_FILE, ("labels_from", "images_left_out")
    about = read_about(path, STAGE, "about", "class_names", *facts)
    tensors = read_tensors(path, STAGE, "images", "labels")
    info = replace(info, class_names=tuple(about["class_names"]))
    return info, tensors["images"], tensors["labels"], {name: about[name] for name in facts}


def _read_digits(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    tensors = read_tensors(folder / DIGITS_FILE, STAGE, "images", "labels")
    return tensors["images"], tensors["labels"], torch.zeros(len(tensors["labels"]), dtype=torch.bool)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes, the format of MNIST, gzipped or not, as uint8 with that many dimensions.

    The format: two zero bytes, the type, the number of dimensions, each size as a big-endian uint32, then the values.
    Raises UserError if the file cannot be read, or has another type, number of dimensions or length.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise corrupt(path, STAGE, error) from None
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic or len(content) < header:
        raise corrupt(path, STAGE, f"it is not an IDX file of unsigned bytes in {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(sizes)
    if len(content) != expected:
        raise corrupt(path, STAGE, f"it has {len(content):,} bytes, but its header says {expected:,}")
    if not math.prod(sizes):
        raise corrupt(path, STAGE, "it has no values")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(sizes)
