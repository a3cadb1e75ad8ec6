"""The classic fully connected GAN: latent -> 256 -> 512 -> 1024 -> image, tanh, and its mirror (Goodfellow et al. 2014)."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.networks.conditioning import Head, join_to_vector
from src.networks.interface import Discriminator, Generator


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
        layers: list[nn.Module] = []
        size = latent_size + (class_count if self.conditional else 0)
        for hidden in hidden_sizes:
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, channels * image_size**2), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        vector = join_to_vector(latents, labels, self.class_count) if self.conditional else latents
        images: Tensor = self.layers(vector).unflatten(1, self.image_shape)
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
    ) -> None:
        super().__init__()
        self.class_count, self.concat = class_count, conditioning == "concat"
        layers: list[nn.Module] = []
        size = channels * image_size**2 + (class_count if self.concat else 0)
        for hidden in reversed(hidden_sizes):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
            size = hidden
        self.layers = nn.Sequential(*layers)
        self.head = Head(size, class_count, projection=conditioning == "projection")

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        vector = images.flatten(1)
        if self.concat:
            vector = join_to_vector(vector, labels, self.class_count)
        logits: Tensor = self.head(self.layers(vector), labels)
        return logits
