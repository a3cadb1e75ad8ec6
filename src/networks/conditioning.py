"""How a label enters a network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def join_to_vector(vector: Tensor, labels: Tensor, class_count: int) -> Tensor:
    """Append the one-hot label: (N, D) and int64 (N,) to (N, D + class_count).

    Float labels (N, class_count) are the weights of the classes, and are appended as they are.
    """
    weights = labels if labels.is_floating_point() else F.one_hot(labels, class_count)
    return torch.cat([vector, weights.to(vector.dtype)], dim=1)


def join_to_image(images: Tensor, labels: Tensor, class_count: int) -> Tensor:
    """Append a constant plane a class: (N, C, H, W) and int64 (N,) to (N, C + class_count, H, W)."""
    planes = F.one_hot(labels, class_count).to(images.dtype)[:, :, None, None]
    return torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], dim=1)


class Head(nn.Module):
    """The discriminator's last layer: a logit, plus <embedding(label), features> under projection.

    Projection follows Miyato and Koyama, cGANs with Projection Discriminator (2018).
    """

    def __init__(self, feature_size: int, class_count: int, *, projection: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, 1)
        self.embedding = nn.Embedding(class_count, feature_size) if projection else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=feature_size**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, feature_size) and int64 (N,) to logits (N,)."""
        logits: Tensor = self.linear(features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(labels) * features).sum(1)
        return logits
