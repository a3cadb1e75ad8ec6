"""Residual networks (Gulrajani et al. 2017, Miyato et al. 2018): blocks that double the image, and blocks that halve it."""

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import (
    Head,
    ImageLabel,
    Labelled,
    LabelledSequential,
    batch_norm,
    class_weights,
    latent_label,
)
from ..interface import Discriminator, Family, Generator
from ..layers import limit_slope
from ..sizes import channels_at, sizes_of


def _start(network: nn.Module) -> None:
    """The first weights of the papers: uniform after Glorot and Bengio (2010), larger in front of and behind a ReLU."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight, 1.0 if "beside" in name else math.sqrt(2))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class UpBlock(Labelled):
    """Norm, ReLU, doubling, convolution, norm, ReLU, convolution; beside it the doubled image through a 1 x 1 convolution."""

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
        # A 1 x 1 convolution and a doubling may change places, and it is cheaper before.
        beside = F.interpolate(self.beside(images), scale_factor=2)
        doubled: Tensor = self.first(images, weights) + beside
        return doubled


class ResnetGenerator(Generator):
    """See :class:`Generator`."""

    def __init__(
        self, *, latent_size: int, class_count: int, channels: int, image_size: int, conditioning: str, width: int
    ) -> None:
        super().__init__()
        self.latent_size, self.class_count, self.conditional = latent_size, class_count, conditioning != "none"
        sizes = sizes_of("resnet", image_size)
        widths = [channels_at(size, image_size, width) for size in sizes]
        self.label = latent_label(latent_size, class_count, conditioning)
        self.start_shape = (widths[0], sizes[0], sizes[0])
        self.start = nn.Linear(self.label.size, widths[0] * sizes[0] ** 2)
        self.layers = LabelledSequential(
            *(UpBlock(before, after, class_count, conditioning) for before, after in pairwise(widths)),
            batch_norm(widths[-1], class_count, conditioning),
            nn.ReLU(),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        _start(self.layers)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        start = self.start(self.label(latents, labels)).unflatten(1, self.start_shape)
        images: Tensor = self.layers(start, class_weights(labels, self.class_count))
        return images


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, halving; beside it the image through a 1 x 1 convolution, halved."""

    def __init__(self, before: int, after: int, *, first: bool = False, halve: bool = True) -> None:
        """The first block sees the image itself: no ReLU before it."""
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
        # Halving and a 1 x 1 convolution may change places, and it is cheaper after.
        halved: Tensor = F.avg_pool2d(through, 2) + self.beside(F.avg_pool2d(images, 2))
        return halved


class ResnetDiscriminator(Discriminator):
    """See :class:`Discriminator`."""

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
        sizes = sizes_of("resnet", image_size)[::-1]
        widths = [channels_at(size, image_size, width) for size in sizes[1:]]
        self.label = ImageLabel(channels, image_size, class_count, conditioning)
        self.layers = nn.Sequential(
            DownBlock(self.label.channels, widths[0], first=True),
            *(DownBlock(before, after) for before, after in pairwise(widths)),
            DownBlock(widths[-1], widths[-1], halve=False),
            nn.ReLU(),
        )
        _start(self.layers)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(widths[-1], class_count, conditioning)
        if spectral_norm:
            limit_slope(self)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the class."""
        features = self.layers(self.label(images, labels)).sum(dim=(2, 3))
        judged: tuple[Tensor, Tensor | None] = self.head(self.dropout(features), labels)
        return judged


class Resnet(Family):
    """Residual blocks."""

    generator, discriminator = ResnetGenerator, ResnetDiscriminator
    conditionings = (*Family.conditionings, "batch_norm")
