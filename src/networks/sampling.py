"""Images from a generator, labels and seeds: the same seed and label give the same image in any batch."""

import torch
from torch import Tensor, nn

from src.networks.interface import Generator
from src.networks.latents import latents_from_seeds
from src.pixels import to_uint8


@torch.inference_mode()
def generate(generator: Generator, labels: Tensor, seeds: Tensor, batch_size: int = 500) -> Tensor:
    """Images uint8 (N, C, H, W) on the CPU from labels int64 (N,) and seeds int64 (N,); the generator's mode is kept."""
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    images = [
        to_uint8(
            generator(latents_from_seeds(some_seeds.to(device), generator.latent_size), some_labels.to(device))
        ).cpu()
        for some_labels, some_seeds in zip(labels.split(batch_size), seeds.split(batch_size), strict=True)
    ]
    generator.train(training)
    return torch.cat(images)


class SeededGenerator(nn.Module):
    """A generator with its latents inside, the form that is exported and served.

    One input, int64 (N, 2): label and seed. Output float32 (N, C, H, W) in [-1, 1].
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, label_and_seed: Tensor) -> Tensor:
        """See the class."""
        labels, seeds = label_and_seed.unbind(1)
        images: Tensor = self.generator(latents_from_seeds(seeds, self.generator.latent_size), labels)
        return images
