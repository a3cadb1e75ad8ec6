"""The classic fully connected GAN: latent -> 256 -> 512 -> 1024 -> image, tanh, and its mirror (Goodfellow et al. 2014)."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..conditioning import VectorLabel
from ..interface import Family
from .base import LabelledDiscriminator, LabelledGenerator


class MlpGenerator(LabelledGenerator):
    """See :class:`~src.networks.interface.Generator`."""

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
        super().__init__(latent_size, class_count, conditioning)
        self.image_shape = (channels, image_size, image_size)
        layers, size = _hidden(self.label.size, hidden_sizes)
        self.layers = nn.Sequential(*layers, nn.Linear(size, channels * image_size**2), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the base class."""
        images: Tensor = self.layers(self.label(latents, labels)).unflatten(1, self.image_shape)
        return images


class MlpDiscriminator(LabelledDiscriminator):
    """See :class:`~src.networks.interface.Discriminator`."""

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
        layers, size = _hidden(self.label.size, hidden_sizes[::-1], dropout)
        self.layers = nn.Sequential(*layers)
        self.add_head(size, class_count, conditioning, spectral_norm=spectral_norm)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base class."""
        return super().forward(images.flatten(1), labels)


def _hidden(size: int, hidden_sizes: Sequence[int], dropout: float | None = None) -> tuple[list[nn.Module], int]:
    """Hidden layers behind an input of ``size``, and the size of their output."""
    layers: list[nn.Module] = []
    for hidden in hidden_sizes:
        layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), *([] if dropout is None else [nn.Dropout(dropout)])]
        size = hidden
    return layers, size


class Mlp(Family):
    """Fully connected."""

    generator, discriminator = MlpGenerator, MlpDiscriminator
