"""Residual networks (Gulrajani et al. 2017, Miyato et al. 2018) of blocks that double or halve the image."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Labelled, LabelledSequential, batch_norm
from ..interface import Family
from .base import ConvDiscriminator, ConvGenerator


def _start(network: nn.Module) -> None:
    """The initialisation of the papers: Glorot uniform (2010), with a larger gain next to a ReLU."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight, 1.0 if "beside" in name else math.sqrt(2))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class UpBlock(Labelled):
    """Norm, ReLU, upsampling, convolution, norm, ReLU, convolution; the shortcut is a 1 x 1 convolution and upsampling."""

    def __init__(self, before: int, after: int, class_count: int, conditioning: str) -> None:
        super().__init__()
        self.first = LabelledSequential(
            batch_norm(before, class_count, conditioning),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            batch_norm(after, class_count, conditioning),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.beside = nn.Conv2d(before, after, 1)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, 2 H, 2 W)."""
        # A 1 x 1 convolution commutes with upsampling, and is cheaper before it.
        beside = F.interpolate(self.beside(images), scale_factor=2)
        doubled: Tensor = self.first(images, weights) + beside
        return doubled


class ResnetGenerator(ConvGenerator):
    """See :class:`~src.networks.interface.Generator`."""

    family = "resnet"

    def build(self, widths: Sequence[int], channels: int, conditioning: str) -> None:
        """See the base class."""
        self.start = nn.Linear(self.label.size, math.prod(self.start_shape))
        self.layers = LabelledSequential(
            *(UpBlock(before, after, self.class_count, conditioning) for before, after in pairwise(widths)),
            batch_norm(widths[-1], self.class_count, conditioning),
            nn.ReLU(),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        _start(self.layers)


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, downsampling; the shortcut is downsampling and a 1 x 1 convolution."""

    def __init__(self, before: int, after: int, *, first: bool = False, halve: bool = True) -> None:
        """The first block has no ReLU in front, because its input is the image."""
        super().__init__()
        self.layers = nn.Sequential(
            *([] if first else [nn.ReLU()]),
            nn.Conv2d(before, after, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.beside = nn.Conv2d(before, after, 1)
        self.halve = halve

    def forward(self, images: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H / 2, W / 2), or to the same size."""
        through = self.layers(images)
        if not self.halve:
            same: Tensor = through + self.beside(images)
            return same
        # A 1 x 1 convolution commutes with downsampling, and is cheaper after it.
        halved: Tensor = F.avg_pool2d(through, 2) + self.beside(F.avg_pool2d(images, 2))
        return halved


class ResnetDiscriminator(ConvDiscriminator):
    """See :class:`~src.networks.interface.Discriminator`."""

    family = "resnet"

    def build(self, smallest: int, widths: Sequence[int], dropout: float) -> int:
        """See the base class."""
        widths = widths[-2::-1]
        self.layers = nn.Sequential(
            DownBlock(self.label.channels, widths[0], first=True),
            *(DownBlock(before, after) for before, after in pairwise(widths)),
            DownBlock(widths[-1], widths[-1], halve=False),
            nn.ReLU(),
        )
        _start(self.layers)
        self.dropout = nn.Dropout(dropout)
        return widths[-1]

    def features(self, inputs: Tensor) -> Tensor:
        """See the base class."""
        found: Tensor = self.dropout(self.layers(inputs).sum(dim=(2, 3)))
        return found


class Resnet(Family):
    """Residual blocks."""

    generator, discriminator = ResnetGenerator, ResnetDiscriminator
    conditionings = (*Family.conditionings, "batch_norm")
