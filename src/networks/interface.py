"""What the rest of the project may expect of a network, and of a family of two."""

from typing import Any, ClassVar

from torch import nn


class Network(nn.Module):
    """A network that can be described in JSON and built again from it."""

    description: dict[str, Any]
    """``{"architecture": name, "options": {...}}``, set by :func:`src.networks.description.build`"""


class Generator(Network):
    """Latents float (N, latent_size) and labels int64 (N,) to images (N, C, H, W) in [-1, 1].

    Labels may also be float (N, class_count), the weights of the classes: between two classes lie images of both.
    """

    latent_size: int
    class_count: int
    conditional: bool
    """whether it looks at the label"""
    rounding: ClassVar[float] = 1e-5
    """by how much a pixel, -1 to 1, may differ where sums are taken in another order, as in an exported form"""


class Discriminator(Network):
    """Images (N, C, H, W) in [-1, 1] and labels int64 (N,) to two things.

    Logits (N,), whose sigmoid is the probability of real; and the logits of an auxiliary classifier (N, class_count), or
    None where it has no such head.
    """

    batch_multiple: int = 1
    """Batches must be a multiple of this: what it compares images with must not be mixed of real and fake ones."""


class Growing(nn.Module):
    """A part of a network by which its layers come in one after another while it trains."""

    def grow(self, share: float) -> None:
        """Bring in the layers of this share of the way, 0 (the smallest images) to 1 (all of them, as when built)."""
        raise NotImplementedError

    @property
    def stage(self) -> tuple[int, bool]:
        """Which layers are at work: doublings of the smallest size, and whether the last of them is still fading in."""
        raise NotImplementedError


class Classifier(Network):
    """Images (N, C, H, W) in [-1, 1] to features (N, feature_size) and class logits (N, class_count)."""


class Family:
    """A generator with its discriminator. A subclass names both, and what can tell them the label.

    Their constructors take, by name, what they need of: ``latent_size``, ``class_count``, ``channels``, ``image_size``, and the
    parameters of ``model``. Their options are found in those names.
    """

    generator: ClassVar[type[Generator]]
    discriminator: ClassVar[type[Discriminator]]
    conditionings: ClassVar[tuple[str, ...]] = ("none", "concat", "embedding", "projection", "auxiliary")
