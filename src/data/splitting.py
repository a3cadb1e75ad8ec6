"""Split a dataset's images, and write the prepared file and a data card."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.params import Data
from ..core.errors import UserError
from ..core.files import replacing
from .prepared import CARD_FILE, DATASET_FILE, SPLITS
from .readers import RawImages


def split_and_save(raw: RawImages, data_params: Data, folder: Path) -> dict[str, Any]:
    """Split, write ``dataset.safetensors`` and ``card.json`` into ``folder``, and return the card.

    The test split is the official one, or else ``test_fraction`` of all images; the validation split is
    ``validation_fraction`` of the rest. Both are stratified samples drawn with ``split_seed``; the same input and parameters
    give the same bytes. Raises UserError if a split would be too small for the number of classes.
    """
    if raw.images.shape[2] != raw.images.shape[3]:
        raise UserError(
            f"{raw.info.name}: images of {tuple(raw.images.shape[2:])} pixels are not supported; they must be square"
        )
    tensors: dict[str, Tensor] = {}
    for name, indices in _split_indices(raw, data_params).items():
        tensors[f"{name}_images"] = raw.images[indices]
        tensors[f"{name}_labels"] = raw.labels[indices]
    card = _card(raw, data_params, tensors)
    _save(tensors, card, folder / DATASET_FILE)
    with replacing(folder / CARD_FILE) as part:
        part.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return card


def _split_indices(raw: RawImages, data_params: Data) -> dict[str, Tensor]:
    everything = torch.arange(len(raw.labels))
    if raw.official_test.any():
        rest, test = everything[~raw.official_test], everything[raw.official_test]
    else:
        rest, test = _draw(raw, everything, "test_fraction", data_params)
    train, validation = _draw(raw, rest, "validation_fraction", data_params)
    return {"train": train, "validation": validation, "test": test}


def _draw(raw: RawImages, indices: Tensor, fraction_name: str, data_params: Data) -> tuple[Tensor, Tensor]:
    """Draw a stratified share of ``indices``; returns the others and the share."""
    from sklearn.model_selection import train_test_split

    fraction: float = getattr(data_params, fraction_name)
    share = round(fraction * len(indices))
    classes = len(raw.info.class_names)
    labels = raw.labels[indices]
    if min(share, len(indices) - share) < classes:
        raise UserError(
            f"params.yaml: data.{fraction_name}: {fraction} of {len(indices)} images is {share}; "
            f"both parts must have at least one image for each of the {classes} classes"
        )
    if int(torch.bincount(labels, minlength=classes).min()) < 2:
        raise UserError(f"{raw.info.name}: a class has fewer than 2 of {len(indices)} images; every split needs one")
    others, drawn = train_test_split(
        indices.numpy(), test_size=share, stratify=labels.numpy(), random_state=data_params.split_seed
    )
    return torch.from_numpy(others), torch.from_numpy(drawn)


def _content_hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _card(raw: RawImages, data_params: Data, tensors: dict[str, Tensor]) -> dict[str, Any]:
    class_names = raw.info.class_names
    counts = {name: torch.bincount(tensors[f"{name}_labels"], minlength=len(class_names)).tolist() for name in SPLITS}
    mean, std = _pixel_statistics(tensors["train_images"])
    return {
        "name": raw.info.name,
        "title": raw.info.title,
        "licence": raw.info.licence,
        "source": raw.info.citation,
        "class_names": list(class_names),
        "image_shape": list(raw.images.shape[1:]),
        "dtype": "uint8",
        "images": {name: sum(counts[name]) for name in SPLITS},
        "images_per_class": {name: dict(zip(class_names, counts[name], strict=True)) for name in SPLITS},
        "train_pixel_mean": mean,
        "train_pixel_std": std,
        "official_test_split": bool(raw.official_test.any()),
        "validation_fraction": data_params.validation_fraction,
        "test_fraction": None if raw.official_test.any() else data_params.test_fraction,
        "split_seed": data_params.split_seed,
        "content_hash": _content_hash(tensors),
        **raw.facts,
    }


def _pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the pixels in 0..1, exact through a histogram of the 256 values."""
    histogram = torch.bincount(images.flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (histogram * values).sum() / histogram.sum()
    variance = (histogram * (values - mean) ** 2).sum() / histogram.sum()
    return round(float(mean), 9), round(float(variance.sqrt()), 9)


def _save(tensors: dict[str, Tensor], card: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save

    about = {key: card[key] for key in ("name", "class_names", "content_hash", "licence", "source")}
    # A single metadata entry: safetensors writes several in an order that varies between runs.
    metadata = {"dataset": json.dumps(about, sort_keys=True)}
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata))
