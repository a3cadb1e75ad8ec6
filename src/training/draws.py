"""Random numbers of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from src.training.world import World


class Draws:
    """From one generator, the same for any number of processes: each draws those of the whole batch and takes its share."""

    def __init__(self, generator: torch.Generator, world: World) -> None:
        self.generator, self.world = generator, world

    def normal(self, count: int, *shape: int) -> Tensor:
        """Standard normal, float32 (count, *shape), on the generator's device."""
        return self._share(torch.randn, count, shape)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """From 0 up to 1, float32 (count, *shape), on the generator's device."""
        return self._share(torch.rand, count, shape)

    def _share(self, draw: Callable[..., Tensor], count: int, shape: tuple[int, ...]) -> Tensor:
        size = count * self.world.size, *shape
        return self.world.share(draw(size, generator=self.generator, device=self.generator.device))
