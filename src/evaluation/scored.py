"""Images in the feature space of the judge: the common input of every metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.device import batch_size, full_precision
from ..core.pixels import to_float
from ..networks.interface import Classifier

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Scored:
    """N images in the judge's feature space, and how often each one counts."""

    features: Tensor
    """float32 (N, D)"""
    logits: Tensor
    """float32 (N, K)"""
    labels: Tensor
    """int64 (N,): the classes they were made for"""
    train_distances: Tensor | None = None
    """float32 (N,): from each image to the nearest training image, in the features; where memorisation is asked for"""
    train_nearest: Tensor | None = None
    """int64 (N,): the index of that training image"""
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
        """int64 (N,): the classes that the judge predicts."""
        return self.logits.argmax(dim=1)

    @property
    def members(self) -> Sequence[Tensor]:
        """The places of the images of each class, int64, class by class. Finding them waits for a GPU, so they are kept."""
        labels = range(self.class_count)
        return self.keep("members", lambda: [(self.labels == label).nonzero()[:, 0] for label in labels])

    @property
    def weights(self) -> Tensor:
        """float64 (1 + R, N): how often each image counts. Row 0 is every image once, the others are the resamples."""
        ones = torch.ones(1, len(self), dtype=torch.float64, device=self.features.device)
        return ones if self.resamples is None else torch.cat([ones, self.resamples])

    def head(self, count: int) -> "Scored":
        """The first ``count`` images, without resamples."""
        tensors = (self.features, self.logits, self.labels, self.train_distances, self.train_nearest, self.images)
        return Scored(*(tensor if tensor is None else tensor[:count] for tensor in tensors))  # type: ignore[arg-type]

    def beside(self, train_distances: Tensor, train_nearest: Tensor | None = None) -> "Scored":
        """The same images, with the distance to the nearest training image, and its index."""
        return replace(self, train_distances=train_distances, train_nearest=train_nearest, _kept={})

    def resampled(self, resamples: Tensor) -> "Scored":
        """The same images, with bootstrap resamples."""
        return replace(self, resamples=resamples.to(self.features.device), _kept={})

    def to(self, device: torch.device) -> "Scored":
        """The same on another device; the images stay where they are."""
        names = ("features", "logits", "labels", "train_distances", "train_nearest", "resamples")
        moved = {name: one if (one := getattr(self, name)) is None else one.to(device) for name in names}
        return replace(self, **moved, _kept={})  # type: ignore[arg-type]

    def keep(self, name: str, compute: Callable[[], Found]) -> Found:
        """The result of ``compute``, computed once: several sets are compared with the same real images."""
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]  # type: ignore[return-value]


@full_precision()
@torch.inference_mode()
def score_images(classifier: Classifier, images: Tensor, labels: Tensor) -> Scored:
    """Run uint8 images (N, C, H, W) through the classifier; the result is on its device, and the images stay where they are.

    All batches have one size, the last one padded: results are bit-identical regardless of batch. A GPU is not waited for,
    unless images or labels have to be copied to it.
    """
    device = next(classifier.parameters()).device
    size = batch_size(device)
    features: list[Tensor] = []
    logits: list[Tensor] = []
    for batch in images.split(size):
        filled = F.pad(to_float(batch.to(device)), (0, 0, 0, 0, 0, 0, 0, size - len(batch)))
        found = classifier(filled.contiguous(memory_format=torch.channels_last))
        for results, result in zip((features, logits), found, strict=True):
            results.append(result[: len(batch)].float())
    return Scored(torch.cat(features), torch.cat(logits), labels.to(device), images=images)


def class_spread(scored: Scored) -> Tensor:
    """The mean distance between two images of a class in the feature space, by class (K,); NaN for fewer than two images."""
    spreads = []
    for places in scored.members:
        features = scored.features[places]
        spreads.append(torch.pdist(features).mean() if len(features) > 1 else features.new_full((), torch.nan))
    return torch.stack(spreads)
