"""Base classes of the families: a subclass builds the layers between the label and the head."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from ...core.errors import UserError
from ..conditioning import Head, ImageLabel, LabelledSequential, VectorLabel, class_weights, latent_label
from ..interface import Discriminator, Generator
from ..layers import apply_spectral_norm

SMALLEST = range(2, 8)
"""image sizes at which a network may start"""
WIDEST = 512


def sizes_of(family: str, image_size: int, fewest_doublings: int = 2) -> list[int]:
    """Image sizes from the smallest, 4 to 7 if possible, to ``image_size``, each twice the previous one.

    Raises UserError, listing the supported sizes, for a size that cannot be halved that often.
    """
    doublings = fewest_doublings
    while image_size / 2**doublings >= SMALLEST.stop:
        doublings += 1
    start = image_size // 2**doublings
    if start * 2**doublings != image_size or start not in SMALLEST:
        raise UserError(
            f"model.family {family} does not support {image_size} x {image_size} images; supported sizes are "
            f"{', '.join(map(str, possible(fewest_doublings)))}"
        )
    return [start * 2**step for step in range(doublings + 1)]


def possible(fewest_doublings: int, highest: int = 256) -> list[int]:
    """All sizes up to ``highest`` that :func:`sizes_of` takes."""
    starts = range(4, SMALLEST.stop)
    small = {start * 2**fewest_doublings for start in SMALLEST}
    large = {start * 2**doublings for start in starts for doublings in range(fewest_doublings, 8)}
    return sorted(size for size in small | large if size <= highest)


def channels_at(size: int, image_size: int, width: int) -> int:
    """``width`` channels at a quarter of the image size, half as many at twice the size, at most 512 (or ``width``)."""
    return max(1, min(width * image_size // (4 * size), max(width, WIDEST)))


class LabelledGenerator(Generator):
    """A generator with the label concatenated to its latent."""

    def __init__(self, latent_size: int, class_count: int, conditioning: str) -> None:
        super().__init__()
        self.latent_size, self.class_count, self.conditional = latent_size, class_count, conditioning != "none"
        self.label = latent_label(latent_size, class_count, conditioning)


class LabelledDiscriminator(Discriminator):
    """A discriminator with the label concatenated to its input, and a :class:`Head` on its features."""

    label: VectorLabel | ImageLabel
    layers: nn.Module

    def add_head(self, feature_size: int, class_count: int, conditioning: str, *, spectral_norm: bool) -> None:
        """Add the last layer, after all others."""
        self.head = Head(feature_size, class_count, conditioning)
        if spectral_norm:
            apply_spectral_norm(self)

    def features(self, inputs: Tensor) -> Tensor:
        """Images with their labels to (N, feature_size)."""
        found: Tensor = self.layers(inputs)
        return found

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Discriminator`."""
        judged: tuple[Tensor, Tensor | None] = self.head(self.features(self.label(images, labels)), labels)
        return judged


def _stages(
    network: type["ConvGenerator | ConvDiscriminator"], image_size: int, width: int
) -> tuple[list[int], list[int]]:
    """Image sizes inside a network in ascending order, and the channels at each."""
    sizes = sizes_of(network.family, image_size, network.fewest_doublings)
    return sizes, [channels_at(size, image_size, width) for size in sizes]


class ConvGenerator(LabelledGenerator):
    """A generator that doubles its images: ``start`` gives ``start_shape``, and ``layers`` the image."""

    family: ClassVar[str]
    fewest_doublings: ClassVar[int] = 2
    start: nn.Module
    layers: LabelledSequential

    def __init__(
        self, *, latent_size: int, class_count: int, channels: int, image_size: int, conditioning: str, width: int
    ) -> None:
        sizes, widths = _stages(type(self), image_size, width)
        super().__init__(latent_size, class_count, conditioning)
        self.start_shape = (widths[0], sizes[0], sizes[0])
        self.build(widths, channels, conditioning)

    def build(self, widths: Sequence[int], channels: int, conditioning: str) -> None:
        """Build ``start`` and ``layers``, to images with ``channels``; ``widths`` are the channels at each size."""
        raise NotImplementedError

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Generator`."""
        start = self.start(self.label(latents, labels)).unflatten(1, self.start_shape)
        images: Tensor = self.layers(start, class_weights(labels, self.class_count))
        return images


class ConvDiscriminator(LabelledDiscriminator):
    """A discriminator that halves its images."""

    family: ClassVar[str]
    fewest_doublings: ClassVar[int] = 2
    label: ImageLabel

    def __init__(
        self,
        *,
        class_count: int,
        channels: int,
        image_size: int,
        conditioning: str,
        width: int,
        dropout: float,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        sizes, widths = _stages(type(self), image_size, width)
        self.label = ImageLabel(channels, image_size, class_count, conditioning)
        feature_size = self.build(sizes[0], widths, dropout)
        self.add_head(feature_size, class_count, conditioning, spectral_norm=spectral_norm)

    def build(self, smallest: int, widths: Sequence[int], dropout: float) -> int:
        """Build the layers and return the number of features; ``widths`` are the channels at each size from ``smallest``."""
        raise NotImplementedError
