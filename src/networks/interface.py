"""The interface of networks and of families."""

from typing import Any, ClassVar

from torch import nn


class Network(nn.Module):
    """A network that can be described in JSON and rebuilt from the description."""

    description: dict[str, Any]
    """``{"architecture": name, "options": {...}}``, set by :func:`src.networks.description.build`"""


class Generator(Network):
    """Latents float (N, latent_size) and labels int64 (N,) to images (N, C, H, W) in [-1, 1].

    Labels may also be float (N, class_count), the weights of the classes, to interpolate between classes.
    """

    latent_size: int
    class_count: int
    conditional: bool
    """whether it uses the label"""
    rounding: ClassVar[float] = 1e-5
    """tolerance for a pixel in [-1, 1] if sums are computed in another order, as in an exported program"""


class Discriminator(Network):
    """Images (N, C, H, W) in [-1, 1] and labels int64 (N,) to logits (N,) and class logits (N, class_count).

    The sigmoid of a logit is the probability of real. Class logits are those of an AC-GAN's head, None without one.
    """

    batch_multiple: int = 1
    """Batch sizes must be a multiple of this, so that groups of images that are compared are all real or all fake."""


class Growing(nn.Module):
    """A part of a network that adds layers during training."""

    def grow(self, share: float) -> None:
        """Grow to a share of the way, from 0 (the smallest images) to 1 (all layers, as when built)."""
        raise NotImplementedError

    @property
    def stage(self) -> tuple[int, bool]:
        """The number of doublings of the smallest size, and whether the last one is still fading in."""
        raise NotImplementedError


class Classifier(Network):
    """Images (N, C, H, W) in [-1, 1] to features (N, feature_size) and class logits (N, class_count)."""


class Family:
    """A generator with its discriminator. A subclass names both, and the conditionings that they support.

    Their constructors take, by name, any of ``latent_size``, ``class_count``, ``channels``, ``image_size`` and the parameters
    of ``model``; the names determine the options.
    """

    generator: ClassVar[type[Generator]]
    discriminator: ClassVar[type[Discriminator]]
    conditionings: ClassVar[tuple[str, ...]] = ("none", "concat", "embedding", "projection", "auxiliary")
