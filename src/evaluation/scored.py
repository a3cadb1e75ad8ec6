"""Images as the auxiliary classifier sees them: the common input of every metric."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.pixels import to_float
from ..networks.interface import Classifier

BATCH = 100
"""What fits in a CPU's cache: four times as fast as 500."""

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Scored:
    """N images in the classifier's eyes, and how often each one counts."""

    features: Tensor
    """float32 (N, D)"""
    logits: Tensor
    """float32 (N, K)"""
    labels: Tensor
    """int64 (N,): the classes they were made for"""
    train_distances: Tensor | None = None
    """float32 (N,): from each image to the nearest training image, in the features; where memorisation is asked for"""
    images: Tensor | None = None
    """uint8 (N, C, H, W): the images themselves"""
    resamples: Tensor | None = None
    """float64 (R, N): how often each bootstrap resample has each image; see :mod:`src.evaluation.bootstrap`"""
    _kept: dict[str, object] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_count(self) -> int:
        """K."""
        return self.logits.shape[1]

    @property
    def seen(self) -> Tensor:
        """int64 (N,): the classes that the classifier sees."""
        return self.logits.argmax(dim=1)

    @property
    def weights(self) -> Tensor:
        """float64 (1 + R, N): how often each image counts. Row 0 is every image once, the others are the resamples."""
        ones = torch.ones(1, len(self), dtype=torch.float64, device=self.features.device)
        return ones if self.resamples is None else torch.cat([ones, self.resamples])

    def head(self, count: int) -> "Scored":
        """The first ``count`` images, without resamples."""
        tensors = (self.features, self.logits, self.labels, self.train_distances, self.images)
        return Scored(*(tensor if tensor is None else tensor[:count] for tensor in tensors))  # type: ignore[arg-type]

    def beside(self, train_distances: Tensor) -> "Scored":
        """The same images, with their distances to the nearest training image."""
        return replace(self, train_distances=train_distances, _kept={})

    def resampled(self, resamples: Tensor) -> "Scored":
        """The same images, with bootstrap resamples."""
        return replace(self, resamples=resamples.to(self.features.device), _kept={})

    def to(self, device: torch.device) -> "Scored":
        """The same on another device; the images stay where they are."""
        moved = (self.features, self.logits, self.labels, self.train_distances, self.resamples)
        features, logits, labels, distances, resamples = (one if one is None else one.to(device) for one in moved)
        return Scored(features, logits, labels, distances, self.images, resamples)  # type: ignore[arg-type]

    def keep(self, name: str, compute: Callable[[], Found]) -> Found:
        """What ``compute`` gives, computed once: the same real images stand beside several sets of generated ones."""
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]  # type: ignore[return-value]


@torch.inference_mode()
def score_images(classifier: Classifier, images: Tensor, labels: Tensor) -> Scored:
    """Run uint8 images (N, C, H, W) through the classifier; the result is on the CPU.

    Batches all have one size, the last one filled up: what is found for an image has the same bits in any company.
    """
    device = next(classifier.parameters()).device
    features: list[Tensor] = []
    logits: list[Tensor] = []
    for batch in images.split(BATCH):
        filled = F.pad(to_float(batch.to(device)), (0, 0, 0, 0, 0, 0, 0, BATCH - len(batch)))
        found = classifier(filled.contiguous(memory_format=torch.channels_last))
        for results, result in zip((features, logits), found, strict=True):
            results.append(result[: len(batch)].float().cpu())
    return Scored(torch.cat(features), torch.cat(logits), labels.cpu(), images=images)
