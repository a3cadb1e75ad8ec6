"""How networks use the label: each value of ``model.conditioning`` in the generator and the discriminator.

| | generator | discriminator |
|---|---|---|
| none | | |
| concat | one-hot, concatenated to the latent | one-hot, concatenated to the image |
| embedding | a learned vector, concatenated to the latent | a learned plane, concatenated to the image |
| projection | as concat | inner product with the features, added to the logit |
| auxiliary | as concat | none: a second head predicts the class, and both networks are trained on it |
| batch_norm | class-conditional gain and bias of each batch norm | as projection |
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBEDDING_SIZE = 32
"""at most; for fewer classes, the number of classes"""


def class_weights(labels: Tensor, class_count: int) -> Tensor:
    """One-hot float32 (N, class_count) of labels int64 (N,). Float labels (N, class_count) are returned unchanged."""
    return labels if labels.is_floating_point() else F.one_hot(labels, class_count).float()


class VectorLabel(nn.Module):
    """Concatenates the label to a vector: one-hot, as a learned vector, or not at all."""

    def __init__(self, size: int, class_count: int, form: str) -> None:
        """``form`` is concat, embedding, or anything else for no label."""
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
    """The input of a generator: the latent, with the label as ``conditioning`` requires."""
    beside = conditioning in ("projection", "auxiliary")
    return VectorLabel(latent_size, class_count, "concat" if beside else conditioning)


class ImageLabel(nn.Module):
    """The input of a discriminator: the image, with further channels for the label as ``conditioning`` requires."""

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
    """The last layer of a discriminator: the logit, and class logits for ``auxiliary``.

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
    """A layer that uses the label: its ``forward`` takes images and class weights (N, class_count)."""


class ConditionalBatchNorm(Labelled):
    """Batch norm with a gain and bias per class (Dumoulin et al. 2017, De Vries et al. 2017)."""

    def __init__(self, width: int, class_count: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gain = nn.Parameter(torch.ones(class_count, width))
        self.bias = nn.Parameter(torch.zeros(class_count, width))

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """(N, width, H, W) and class weights (N, class_count) to (N, width, H, W)."""
        gain, bias = weights @ self.gain, weights @ self.bias
        normalised: Tensor = self.norm(images)
        return normalised * gain[:, :, None, None] + bias[:, :, None, None]


def batch_norm(width: int, class_count: int, conditioning: str) -> nn.Module:
    """The batch norm of a generator layer."""
    return ConditionalBatchNorm(width, class_count) if conditioning == "batch_norm" else nn.BatchNorm2d(width)


class LabelledSequential(nn.Sequential):
    """A sequence of layers, some of which use the label."""

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:  # type: ignore[override]
        """The input of the first layer and class weights (N, class_count) to the output of the last layer."""
        for layer in self:
            images = layer(images, weights) if isinstance(layer, Labelled) else layer(images)
        return images
