"""Images from a generator, labels and seeds: the same seed and label give the same image in any batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.networks.interface import Generator
from src.networks.latents import latents_from_seeds
from src.pixels import to_uint8

BATCH = 100


@torch.inference_mode()
def generate(
    generator: Generator, labels: Tensor, seeds: Tensor, watch: Callable[[Tensor], None] | None = None
) -> Tensor:
    """Images uint8 (N, C, H, W) on the CPU from labels int64 (N,) and seeds int64 (N,); the generator's mode is kept.

    Batches all have one size, the last one filled up: an image has the same bits in any company. ``watch`` is shown the
    float images of each batch.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    images = []
    for some_labels, some_seeds in zip(labels.split(BATCH), seeds.split(BATCH), strict=True):
        missing = BATCH - len(some_labels)
        latents = latents_from_seeds(F.pad(some_seeds.to(device), (0, missing)), generator.latent_size)
        made = generator(latents, F.pad(some_labels.to(device), (0, missing)))[: len(some_labels)]
        if watch is not None:
            watch(made)
        images.append(to_uint8(made).cpu())
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
