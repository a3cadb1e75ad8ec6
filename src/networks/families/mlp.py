"""The classic fully connected GAN: latent -> 256 -> 512 -> 1024 -> image, tanh, and its mirror (Goodfellow et al. 2014)."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..conditioning import Head, VectorLabel, latent_label
from ..interface import Discriminator, Family, Generator
from ..layers import limit_slope


class MlpGenerator(Generator):
    """See :class:`Generator`."""

    def __init__(
        self,
        *,
        latent_size: int,
        class_count: int,
        channels: int,
        image_size: int,
        conditioning: str,
        hidden_sizes: Sequence[int],
    ) -> None:
        super().__init__()
        self.latent_size, self.class_count, self.conditional = latent_size, class_count, conditioning != "none"
        self.image_shape = (channels, image_size, image_size)
        self.label = latent_label(latent_size, class_count, conditioning)
        layers: list[nn.Module] = []
        size = self.label.size
        for hidden in hidden_sizes:
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, channels * image_size**2), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        images: Tensor = self.layers(self.label(latents, labels)).unflatten(1, self.image_shape)
        return images


class MlpDiscriminator(Discriminator):
    """See :class:`Discriminator`."""

    def __init__(
        self,
        *,
        class_count: int,
        channels: int,
        image_size: int,
        conditioning: str,
        hidden_sizes: Sequence[int],
        dropout: float,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        self.label = VectorLabel(channels * image_size**2, class_count, conditioning)
        layers: list[nn.Module] = []
        size = self.label.size
        for hidden in reversed(hidden_sizes):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
            size = hidden
        self.layers = nn.Sequential(*layers)
        self.head = Head(size, class_count, conditioning)
        if spectral_norm:
            limit_slope(self)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the class."""
        judged: tuple[Tensor, Tensor | None] = self.head(self.layers(self.label(images.flatten(1), labels)), labels)
        return judged


class Mlp(Family):
    """Fully connected."""

    generator, discriminator = MlpGenerator, MlpDiscriminator
