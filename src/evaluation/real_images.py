"""The real images of a dataset in the judge's feature space, computed once and cached in a folder."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..core.device import full_precision
from ..core.errors import UserError
from ..core.files import replacing
from ..data.prepared import PreparedData, Split
from ..networks.interface import Classifier
from ..networks.weights import content_hash
from .metrics.quick.memorisation import nearest_training
from .scored import Scored, score_images

SplitName = Literal["train", "validation", "test"]
KEPT = 4
"""Least recently used folders of other data or classifiers beyond this number are deleted: 30 MB for 70,000 images."""


class RealImages:
    """Features and logits of each split; validation and test images with their distances to the training images too.

    A split is read when it is first requested: only evaluate and the leaderboards of compare_recipes
    request the test split.
    """

    def __init__(self, classifier: Classifier, data: PreparedData, folder: Path | None = None) -> None:
        """With a ``folder``, results are cached there, in a subfolder named by hashes of data and classifier."""
        self.classifier, self.data = classifier, data
        self.device = next(classifier.parameters()).device
        self.folder = folder / self._key() if folder is not None else None
        self._scored: dict[SplitName, Scored] = {}

    def scored(self, split: SplitName) -> Scored:
        """A split in the feature space, on the CPU."""
        if split not in self._scored:
            images: Split = getattr(self.data, split)
            self._scored[split] = self._read(split, images) or self._find(split, images)
        return self._scored[split]

    def _key(self) -> str:
        # Another kind of device or version of PyTorch changes the last bits; the precision is always full float32.
        on_gpu = self.device.type == "cuda"
        device = torch.cuda.get_device_name(self.device) if on_gpu else self.device.type
        text = f"{self.data.content_hash} {content_hash(self.classifier)} {device} {torch.__version__}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @full_precision()
    def _find(self, split: SplitName, images: Split) -> Scored:
        scored = score_images(self.classifier, images.images, images.labels)
        if split != "train":
            train = self.scored("train").features.to(self.device)
            scored = scored.beside(nearest_training(scored.features, train)[0])
        scored = scored.to(torch.device("cpu"))
        if self.folder is not None:
            self._write(split, scored, self.folder)
        return scored

    def _read(self, split: SplitName, images: Split) -> Scored | None:
        """The cached split; None where it is missing or invalid."""
        if self.folder is None:
            return None
        try:
            kept = load_file(self.folder / f"{split}.safetensors")
            scored = Scored(
                kept["features"], kept["logits"], images.labels, kept.get("train_distances"), images=images.images
            )
        except (OSError, SafetensorError, KeyError):
            return None
        whole = all(tensor.shape[:1] == images.labels.shape for tensor in kept.values())
        if not whole or (split == "train") != (scored.train_distances is None):
            return None
        with suppress(OSError):  # a folder that can only be read
            os.utime(self.folder)
        return scored

    def _write(self, split: SplitName, scored: Scored, folder: Path) -> None:
        """Cache it and delete the least recently used folders. A cache that cannot be written is no error."""
        tensors = {"features": scored.features, "logits": scored.logits}
        if scored.train_distances is not None:
            tensors["train_distances"] = scored.train_distances
        try:
            with replacing(folder / f"{split}.safetensors") as part:
                part.write_bytes(save(tensors))
        except UserError:  # disk full, for example
            return
        with suppress(OSError):  # another process may delete the same ones
            others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
            for other in others[: -KEPT - 1]:
                shutil.rmtree(other, ignore_errors=True)
