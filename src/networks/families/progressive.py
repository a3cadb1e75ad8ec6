"""Progressive growing (Karras et al. 2018): training starts at 4 x 4 and doubles the size with layers that fade in.

Both networks always take and return images of the full size; smaller ones are upsampled or downsampled to it. Scoring, saving
and sampling therefore do not depend on how far a network has grown.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..interface import Family, Growing
from ..layers import EqualizedConv, EqualizedLinear, MinibatchDeviation, PixelNorm
from .base import ConvDiscriminator, ConvGenerator


class _Growth(Growing):
    """The growth of a network in doublings; the last one may be partial."""

    growth: Tensor

    def __init__(self, doublings: int) -> None:
        super().__init__()
        self.doublings = doublings
        self.register_buffer("growth", torch.tensor(float(doublings)))
        self._stage = (doublings, False)

    def grow(self, share: float) -> None:
        """See :class:`Growing`. Each size gets equal time and fades in during the first half."""
        halves = share * 2 * self.doublings
        whole = min(int(halves / 2), self.doublings)
        self._set(min(whole + max(0.0, halves - 2 * whole - 1), self.doublings))

    @property
    def stage(self) -> tuple[int, bool]:
        """See :class:`Growing`."""
        return self._stage

    @property
    def share(self) -> Tensor:
        """The weight of the last size, a tensor so that captured steps can change it."""
        return self.growth - (self._stage[0] - 1)

    def _set(self, growth: float) -> None:
        self._stage = (math.ceil(growth), growth != int(growth))
        self.growth.fill_(growth)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state, prefix, *arguments)
        self._set(float(self.growth))


def _block(before: int, after: int) -> list[nn.Module]:
    return [EqualizedConv(before, after, 3), nn.LeakyReLU(0.2)]


def _double(images: Tensor, times: int = 1) -> Tensor:
    return F.interpolate(images, scale_factor=float(2**times)) if times else images


def _halve(images: Tensor, times: int = 1) -> Tensor:
    return F.avg_pool2d(images, 2**times) if times else images


class ProgressiveGenerator(ConvGenerator):
    """See :class:`~src.networks.interface.Generator`."""

    family, fewest_doublings = "progressive", 1
    rounding = 5e-4  # each pixel is normalised on the way: 1e-4 was seen; a grey level is 8e-3

    def build(self, widths: Sequence[int], channels: int, conditioning: str) -> None:
        """See the base class."""
        self.grown = _Growth(len(widths) - 1)
        self.start = nn.Sequential(
            PixelNorm(),
            EqualizedLinear(self.label.size, math.prod(self.start_shape), gain=math.sqrt(2) / 4),
            nn.Unflatten(1, self.start_shape),
            nn.LeakyReLU(0.2),
            PixelNorm(),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_block(before, after), PixelNorm(), *_block(after, after), PixelNorm())
            for before, after in pairwise([widths[0], *widths])
        )
        self.to_image = nn.ModuleList(EqualizedConv(one, channels, 1, gain=1) for one in widths)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the base class."""
        last, fading = self.grown.stage
        features = self.start(self.label(latents, labels))
        before = features
        for level in range(last + 1):
            before = features
            features = self.blocks[level](_double(features) if level else features)
        images: Tensor = self.to_image[last](features)
        if fading:
            images = torch.lerp(_double(self.to_image[last - 1](before)), images, self.grown.share)
        return torch.tanh(_double(images, self.grown.doublings - last))


class ProgressiveDiscriminator(ConvDiscriminator):
    """See :class:`~src.networks.interface.Discriminator`."""

    family, fewest_doublings = "progressive", 1
    batch_multiple = MinibatchDeviation.GROUP

    def build(self, smallest: int, widths: Sequence[int], dropout: float) -> int:
        """See the base class."""
        self.grown = _Growth(len(widths) - 1)
        self.from_image = nn.ModuleList(
            nn.Sequential(EqualizedConv(self.label.channels, one, 1), nn.LeakyReLU(0.2)) for one in widths
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_block(after, after), *_block(after, before)) for before, after in pairwise(widths)
        )
        self.end = nn.Sequential(
            MinibatchDeviation(),
            *_block(widths[0] + 1, widths[0]),
            nn.Flatten(),
            EqualizedLinear(widths[0] * smallest**2, widths[0]),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
        )
        return widths[0]

    def features(self, inputs: Tensor) -> Tensor:
        """See the base class."""
        last, fading = self.grown.stage
        images = _halve(inputs, self.grown.doublings - last)
        features = self.from_image[last](images)
        for level in range(last - 1, -1, -1):
            features = _halve(self.blocks[level](features))
            if fading and level == last - 1:
                features = torch.lerp(self.from_image[level](_halve(images)), features, self.grown.share)
        found: Tensor = self.end(features)
        return found


class Progressive(Family):
    """Growing from 4 x 4 pixels to the full size."""

    generator, discriminator = ProgressiveGenerator, ProgressiveDiscriminator
