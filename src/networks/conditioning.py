"""How a label enters a network: each of ``model.conditioning`` in the generator, and in the discriminator.

| | generator | discriminator |
|---|---|---|
| none | | |
| concat | one-hot, joined to the latent | one-hot, joined to the image |
| embedding | a learned vector, joined to the latent | a learned plane, joined to the image |
| projection | as concat | a product with the features, added to the logit |
| auxiliary | as concat | nowhere: a second head tells the class, and both networks learn from it |
| batch_norm | gain and bias of each batch norm | as projection |
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBEDDING_SIZE = 32
"""at most: a one-hot vector of fewer classes is shorter, and tells as much"""


def class_weights(labels: Tensor, class_count: int) -> Tensor:
    """float32 (N, class_count): one-hot of int64 (N,). Float labels (N, class_count) are weights already, and stay."""
    return labels if labels.is_floating_point() else F.one_hot(labels, class_count).float()


class VectorLabel(nn.Module):
    """A vector, and behind it the label: one-hot, by a learned vector, or not at all."""

    def __init__(self, size: int, class_count: int, form: str) -> None:
        """``form`` is concat, embedding, or anything else for not at all."""
        super().__init__()
        self.class_count, self.joined = class_count, form in ("concat", "embedding")
        self.embedding = None
        added = class_count if self.joined else 0
        if form == "embedding":
            added = min(class_count, EMBEDDING_SIZE)
            self.embedding = nn.Linear(class_count, added, bias=False)
            nn.init.normal_(self.embedding.weight)
        self.size = size + added
        """of the result"""

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """(N, D) and int64 (N,) or float (N, class_count) to (N, size)."""
        if not self.joined:
            return vectors
        weights = class_weights(labels, self.class_count).to(vectors.dtype)
        return torch.cat([vectors, weights if self.embedding is None else self.embedding(weights)], dim=1)


def latent_label(latent_size: int, class_count: int, conditioning: str) -> VectorLabel:
    """The generator's input: the latent, and behind it what ``conditioning`` joins to it."""
    beside = conditioning in ("projection", "auxiliary")
    return VectorLabel(latent_size, class_count, "concat" if beside else conditioning)


class ImageLabel(nn.Module):
    """The discriminator's input: the image, and behind its channels what ``conditioning`` joins to it."""

    def __init__(self, channels: int, image_size: int, class_count: int, conditioning: str) -> None:
        super().__init__()
        self.class_count, self.image_size = class_count, image_size
        self.joined = conditioning in ("concat", "embedding")
        self.embedding = None
        added = class_count if self.joined else 0
        if conditioning == "embedding":
            added = 1
            self.embedding = nn.Linear(class_count, image_size**2, bias=False)
            nn.init.normal_(self.embedding.weight)
        self.channels = channels + added
        """of the result"""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) and int64 (N,) to (N, channels, H, W)."""
        if not self.joined:
            return images
        weights = class_weights(labels, self.class_count).to(images.dtype)
        if self.embedding is None:
            planes = weights[:, :, None, None].expand(-1, -1, *images.shape[2:])
        else:
            planes = self.embedding(weights).unflatten(1, (1, self.image_size, self.image_size)).to(images.dtype)
        return torch.cat([images, planes], dim=1)


class Head(nn.Module):
    """The discriminator's last layer: the logit, and under ``auxiliary`` the class logits beside it.

    ``projection`` and ``batch_norm`` add <embedding(label), features> to the logit: Miyato and Koyama, cGANs with
    Projection Discriminator (2018). ``auxiliary`` follows Odena, Olah and Shlens (2017).
    """

    def __init__(self, feature_size: int, class_count: int, conditioning: str) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, 1)
        self.embedding = None
        self.classes = nn.Linear(feature_size, class_count) if conditioning == "auxiliary" else None
        if conditioning in ("projection", "batch_norm"):
            self.embedding = nn.Embedding(class_count, feature_size)
            nn.init.normal_(self.embedding.weight, std=feature_size**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, feature_size) and int64 (N,) to logits (N,) and class logits (N, class_count) or None."""
        logits: Tensor = self.linear(features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(labels) * features).sum(1)
        return logits, None if self.classes is None else self.classes(features)


class Labelled(nn.Module):
    """A layer that looks at the label: its ``forward`` takes images and the classes' weights (N, class_count)."""


class ConditionalBatchNorm(Labelled):
    """Batch norm whose gain and bias belong to the class (Dumoulin et al. 2017, De Vries et al. 2017)."""

    def __init__(self, width: int, class_count: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gain = nn.Parameter(torch.ones(class_count, width))
        self.bias = nn.Parameter(torch.zeros(class_count, width))

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """(N, width, H, W) and the classes' weights (N, class_count) to (N, width, H, W)."""
        gain, bias = weights @ self.gain, weights @ self.bias
        normalised: Tensor = self.norm(images)
        return normalised * gain[:, :, None, None] + bias[:, :, None, None]


def batch_norm(width: int, class_count: int, conditioning: str) -> nn.Module:
    """The batch norm of a generator's layer."""
    return ConditionalBatchNorm(width, class_count) if conditioning == "batch_norm" else nn.BatchNorm2d(width)


class LabelledSequential(nn.Sequential):
    """Layers one after the other; those that look at the label are told it."""

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:  # type: ignore[override]
        """The first layer's input, and the classes' weights (N, class_count), to the last layer's output."""
        for layer in self:
            images = layer(images, weights) if isinstance(layer, Labelled) else layer(images)
        return images
