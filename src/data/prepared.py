"""The prepared dataset: one memory-mapped file with the three splits."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import UserError, require_file

DATASET_FILE = "dataset.safetensors"
CARD_FILE = "card.json"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """``images`` uint8 (N, C, H, W) and ``labels`` int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class PreparedData:
    """The three splits of a dataset; the tensors are memory mapped, so read only what you need."""

    train: Split
    validation: Split
    test: Split
    name: str
    class_names: tuple[str, ...]
    content_hash: str

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""
        return self.train.images.shape[2]


def load(folder: Path) -> PreparedData:
    """Memory-map the prepared dataset in ``folder``.

    Raises UserError when it is missing (with the command that makes it), truncated, or not of this format. The content
    hash is taken from the file, not computed again.
    """
    from safetensors import SafetensorError, safe_open

    path = require_file(folder / DATASET_FILE, "prepare")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["dataset"])
            splits = {
                name: Split(*(file.get_tensor(f"{name}_{part}") for part in ("images", "labels"))) for name in SPLITS
            }
        data = PreparedData(
            **splits,
            name=about["name"],
            class_names=tuple(about["class_names"]),
            content_hash=about["content_hash"],
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, str(error)) from None
    shape = data.train.images.shape[1:]
    for split in splits.values():
        if split.images.dtype != torch.uint8 or split.images.ndim != 4 or split.images.shape[1:] != shape:
            raise _corrupt(path, "images must be uint8 (N, C, H, W), of one size")
        if split.labels.dtype != torch.int64 or split.labels.shape != split.images.shape[:1] or not len(split):
            raise _corrupt(path, "labels must be int64 (N,), one for each image")
    return data


def _corrupt(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: corrupt ({reason}); make it again with `dvc repro -f prepare` or `python -m src.prepare`"
    )
