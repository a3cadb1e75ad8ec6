"""Images as the auxiliary classifier sees them: the common input of every metric."""

from dataclasses import dataclass

import torch
from torch import Tensor

from src.networks.interface import Classifier
from src.pixels import to_float


@dataclass(frozen=True)
class Scored:
    """Features float32 (N, D) and class logits float32 (N, K) of N images, and the labels int64 (N,) they were made for."""

    features: Tensor
    logits: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> "Scored":
        """The first ``count`` images."""
        return Scored(self.features[:count], self.logits[:count], self.labels[:count])


@torch.inference_mode()
def score_images(classifier: Classifier, images: Tensor, labels: Tensor, batch_size: int = 500) -> Scored:
    """Run uint8 images (N, C, H, W) through the classifier; the result is on the CPU."""
    device = next(classifier.parameters()).device
    features, logits = zip(
        *(classifier(to_float(batch.to(device))) for batch in images.split(batch_size)),
        strict=True,
    )
    return Scored(torch.cat(features).float().cpu(), torch.cat(logits).float().cpu(), labels.cpu())
