"""Small networks that learn fast on a CPU: dcgan's, with residual convolutions in the generator.

A 3 x 3 convolution is added to its input at each size below the full one, where it costs little. docs/tuning.md lists the
variants tried, such as residual convolutions and minibatch deviation in the discriminator.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ..conditioning import Labelled, LabelledSequential, batch_norm
from ..interface import Family
from .base import ConvGenerator
from .dcgan import DcganDiscriminator


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


class CompactDiscriminator(DcganDiscriminator):
    """See :class:`~src.networks.interface.Discriminator`."""

    family = "compact"


class Compact(Family):
    """Convolutions with stride, and residual convolutions in the generator, for a CPU."""

    generator, discriminator = CompactGenerator, CompactDiscriminator
    conditionings = (*Family.conditionings, "batch_norm")
