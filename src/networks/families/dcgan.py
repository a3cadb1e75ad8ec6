"""A DCGAN small enough for a CPU (Radford et al. 2015): a start at 4 x 4 to 7 x 7, transposed convolutions, and its mirror.

Both have one 3 x 3 convolution more, at the smallest size, where it costs little: it raised the coverage of Fashion-MNIST
from 0.80 to 0.88 after 300 thousand images.
"""

from itertools import pairwise

from torch import Tensor, nn

from ..conditioning import Head, ImageLabel, LabelledSequential, batch_norm, class_weights, latent_label
from ..interface import Discriminator, Family, Generator
from ..layers import limit_slope
from ..sizes import channels_at, sizes_of


class DcganGenerator(Generator):
    """See :class:`Generator`."""

    def __init__(
        self, *, latent_size: int, class_count: int, channels: int, image_size: int, conditioning: str, width: int
    ) -> None:
        super().__init__()
        self.latent_size, self.class_count, self.conditional = latent_size, class_count, conditioning != "none"
        sizes = sizes_of("dcgan", image_size)
        widths = [channels_at(size, image_size, width) for size in sizes[:-1]]
        self.label = latent_label(latent_size, class_count, conditioning)
        self.start_shape = (widths[0], sizes[0], sizes[0])
        self.start = nn.Linear(self.label.size, widths[0] * sizes[0] ** 2, bias=False)
        layers = [
            batch_norm(widths[0], class_count, conditioning),
            nn.ReLU(),
            nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False),
        ]
        for before, after in pairwise(widths):
            layers += [
                batch_norm(before, class_count, conditioning),
                nn.ReLU(),
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            ]
        layers += [
            batch_norm(widths[-1], class_count, conditioning),
            nn.ReLU(),
            nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1),
            nn.Tanh(),
        ]
        self.layers = LabelledSequential(*layers)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        start = self.start(self.label(latents, labels)).unflatten(1, self.start_shape)
        images: Tensor = self.layers(start, class_weights(labels, self.class_count))
        return images


class DcganDiscriminator(Discriminator):
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
        sizes = sizes_of("dcgan", image_size)[::-1]
        self.label = ImageLabel(channels, image_size, class_count, conditioning)
        layers: list[nn.Module] = []
        before = self.label.channels
        for size in sizes[1:]:
            after = channels_at(size, image_size, width)
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            if size != sizes[-1]:
                layers += [nn.Dropout(dropout)]
            before = after
        layers += [nn.Conv2d(before, before, 3, padding=1), nn.LeakyReLU(0.2), nn.Dropout(dropout), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.head = Head(before * sizes[-1] ** 2, class_count, conditioning)
        if spectral_norm:
            limit_slope(self)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the class."""
        judged: tuple[Tensor, Tensor | None] = self.head(self.layers(self.label(images, labels)), labels)
        return judged


class Dcgan(Family):
    """Convolutions with stride, and batch norm in the generator."""

    generator, discriminator = DcganGenerator, DcganDiscriminator
    conditionings = (*Family.conditionings, "batch_norm")
