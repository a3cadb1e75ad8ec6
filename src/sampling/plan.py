"""Which images to draw: the label and the seed of each follow from its number."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.device import CPU_BATCH
from ..networks.interface import Generator
from .draw import generate


@dataclass(frozen=True)
class Plan:
    """``count`` images of some classes, drawn in batches of constant memory."""

    classes: tuple[int, ...]
    count: int
    per_class: int | None
    """images of each class, class by class; None: the classes alternate"""
    seed: int
    truncation: float = 1.0

    def labels(self, numbers: Tensor) -> Tensor:
        """The labels of images by their numbers, both int64 (N,)."""
        return torch.tensor(self.classes)[numbers // self.per_class if self.per_class else numbers % len(self.classes)]

    def seeds(self, numbers: Tensor) -> Tensor:
        """The seeds of their latents, int64 (N,): ``seed * 2**32 + n``, so that seeds share no latents."""
        return self.seed * 2**32 + numbers

    def draw(self, generator: Generator, numbers: Tensor) -> Tensor:
        """The images, uint8 (N, C, H, W), on the CPU."""
        return generate(generator, self.labels(numbers), self.seeds(numbers), truncation=self.truncation)

    def batches(self) -> Iterator[Tensor]:
        """The numbers of all images, int64, a batch at a time."""
        for first in range(0, self.count, CPU_BATCH):
            yield torch.arange(first, min(first + CPU_BATCH, self.count))
