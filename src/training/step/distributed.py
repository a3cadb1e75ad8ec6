"""The processes that train together, and the random numbers that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...networks.interface import Growing

TIMEOUT = timedelta(hours=1)
"""The first process scores alone, and the others wait for it."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among ``size`` others; without ``torchrun``, the only one. Every process must make the same calls."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Meet the processes that ``torchrun`` has started, NCCL between GPUs and Gloo between CPUs."""
        if not dist.is_torchelastic_launched():
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def leave() -> None:
        """Part from the others at the end."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that scores, records and saves."""
        return self.rank == 0

    def parallel(self, network: nn.Module) -> Callable[..., Any]:
        """The network, such that its gradients are averaged over the processes."""
        if self.size == 1:
            return network
        devices = [next(network.parameters()).device.index] if next(network.parameters()).is_cuda else None
        grows = any(isinstance(part, Growing) for part in network.modules())  # then not all weights are in use
        return DistributedDataParallel(
            network, device_ids=devices, gradient_as_bucket_view=True, find_unused_parameters=grows
        )

    def share(self, whole: Tensor) -> Tensor:
        """This process's part of a tensor (N, ...) that all have; N is divisible by ``size``."""
        return whole.chunk(self.size)[self.rank] if self.size > 1 else whole

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
            value = value / self.size
        return value

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What ``make`` returns in the first process, in all of them."""
        if self.size == 1:
            return make()
        box = [make() if self.is_first else None]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


class Draws:
    """From one generator, the same for any number of processes: each draws those of the whole batch and takes its share."""

    def __init__(self, generator: torch.Generator, distributed: DistributedContext) -> None:
        self.generator, self.distributed = generator, distributed

    def normal(self, count: int, *shape: int) -> Tensor:
        """Standard normal, float32 (count, *shape), on the generator's device."""
        return self._share(torch.randn, count, shape)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """From 0 up to 1, float32 (count, *shape), on the generator's device."""
        return self._share(torch.rand, count, shape)

    def _share(self, draw: Callable[..., Tensor], count: int, shape: tuple[int, ...]) -> Tensor:
        size = count * self.distributed.size, *shape
        return self.distributed.share(draw(size, generator=self.generator, device=self.generator.device))
