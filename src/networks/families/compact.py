"""Small networks that learn fast on a CPU: dcgan's with residual convolutions, and minibatch deviation in the discriminator.

A 3 x 3 convolution is added to its input where it costs little: at each size below the full one in the generator, at the
smallest one in the discriminator. docs/tuning.md has what was tried.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Labelled, LabelledSequential, batch_norm
from ..interface import Family
from ..layers import GROUP, group_deviation
from .base import ConvDiscriminator, ConvGenerator


class Residual(Labelled):
    """Norm, ReLU and a 3 x 3 convolution, added to the input."""

    def __init__(self, width: int, class_count: int, conditioning: str) -> None:
        super().__init__()
        self.layers = LabelledSequential(
            batch_norm(width, class_count, conditioning),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """(N, width, H, W) and class weights (N, class_count) to (N, width, H, W)."""
        changed: Tensor = images + self.layers(images, weights)
        return changed


class CompactGenerator(ConvGenerator):
    """See :class:`~src.networks.interface.Generator`."""

    family = "compact"

    def build(self, widths: Sequence[int], channels: int, conditioning: str) -> None:
        """See the base class."""
        widths = widths[:-1]
        self.start = nn.Linear(self.label.size, widths[0] * self.start_shape[1] ** 2, bias=False)
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise([*widths, channels]), start=1):
            layers += [
                Residual(before, self.class_count, conditioning),
                batch_norm(before, self.class_count, conditioning),
                nn.ReLU(),
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=level == len(widths)),
            ]
        self.layers = LabelledSequential(*layers, nn.Tanh())


class CompactDiscriminator(ConvDiscriminator):
    """See :class:`~src.networks.interface.Discriminator`."""

    family = "compact"
    batch_multiple = GROUP

    def build(self, smallest: int, widths: Sequence[int], dropout: float) -> int:
        """See the base class."""
        self.layers = nn.Sequential(*self.halving(widths, dropout))
        self.last = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        # A vector in place of a further input channel: a step with 49 channels took 1.5 times as long as with 48.
        self.deviation = nn.Parameter(0.05 * torch.randn(widths[0]))
        self.dropout = nn.Dropout(dropout)
        return widths[0] * smallest**2

    def features(self, inputs: Tensor) -> Tensor:
        """See the base class."""
        images = self.layers(inputs)
        deviation = group_deviation(images)[:, None] * self.deviation
        changed = self.last(images) + deviation[:, :, None, None]
        found: Tensor = self.dropout(images + F.leaky_relu(changed, 0.2)).flatten(1)
        return found


class Compact(Family):
    """Convolutions with stride and residual convolutions, for a CPU."""

    generator, discriminator = CompactGenerator, CompactDiscriminator
    conditionings = (*Family.conditionings, "batch_norm")
