"""The prepared dataset: one memory-mapped file with the three splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.params import Data
from ..core.errors import UserError
from ..core.files import corrupt, read_about, read_json, read_tensors

DATASET_FILE = "dataset.safetensors"
CARD_FILE = "card.json"
SPLITS = ("train", "validation", "test")
SPLIT_PARAMS = ("validation_fraction", "test_fraction", "split_seed")


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
    """The three splits of a dataset; the tensors are memory-mapped."""

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


def load(folder: Path, params: Data | None = None) -> PreparedData:
    """Memory-map the prepared dataset in ``folder``.

    Raises UserError if it is missing, corrupt, or, with ``params``, prepared with other parameters; the message names the
    command to run. The content hash is read from the file.
    """
    path = folder / DATASET_FILE
    about = read_about(path, "prepare", "dataset", "name", "class_names", "content_hash")
    tensors = read_tensors(path, "prepare", *(f"{name}_{part}" for name in SPLITS for part in ("images", "labels")))
    splits = {name: Split(tensors[f"{name}_images"], tensors[f"{name}_labels"]) for name in SPLITS}
    if not isinstance(about["class_names"], list):
        raise corrupt(path, "prepare", "class_names is not a list")
    data = PreparedData(
        **splits, name=about["name"], class_names=tuple(about["class_names"]), content_hash=about["content_hash"]
    )
    shape = data.train.images.shape[1:]
    for split in splits.values():
        if split.images.dtype != torch.uint8 or split.images.ndim != 4 or split.images.shape[1:] != shape:
            raise corrupt(path, "prepare", "images must be uint8 (N, C, H, W), of one size")
        if split.labels.dtype != torch.int64 or split.labels.shape != split.images.shape[:1] or not len(split):
            raise corrupt(path, "prepare", "labels must be int64 (N,), one for each image")
    if params is not None:
        _check_params(read_json(folder / CARD_FILE, "prepare", "name", "image_shape", *SPLIT_PARAMS), params, folder)
    return data


def _check_params(card: dict[str, Any], params: Data, folder: Path) -> None:
    """Raise UserError if the data card says that the data were prepared with other parameters."""
    given = {"dataset": card["name"], **{name: card[name] for name in SPLIT_PARAMS}}
    if params.dataset == "folder" == given["dataset"]:
        given |= dict(zip(("channels", "image_size"), card["image_shape"], strict=False))
    for name, value in given.items():
        wanted = getattr(params, name)
        if value != wanted and value is not None:
            raise UserError(
                f"{folder} was prepared with data.{name} {value}, but params.yaml has {wanted}; run `dvc repro prepare`"
            )
