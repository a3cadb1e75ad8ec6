"""The distributed context of a run, and random numbers that do not depend on the number of processes."""

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
"""The other processes wait while the first one scores."""


@dataclass(frozen=True)
class DistributedContext:
    """The rank of this process among ``size`` processes; a single one without ``torchrun``. All must make the same calls."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Join the process group of ``torchrun``: NCCL for GPUs, Gloo for CPUs."""
        if not dist.is_torchelastic_launched():
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def leave() -> None:
        """Leave the process group."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process scores, records and saves."""
        return self.rank == 0

    def parallel(self, network: nn.Module) -> Callable[..., Any]:
        """The network, wrapped so that its gradients are averaged over the processes."""
        if self.size == 1:
            return network
        devices = [next(network.parameters()).device.index] if next(network.parameters()).is_cuda else None
        grows = any(isinstance(part, Growing) for part in network.modules())  # unused weights at first
        return DistributedDataParallel(
            network, device_ids=devices, gradient_as_bucket_view=True, find_unused_parameters=grows
        )

    def share(self, whole: Tensor) -> Tensor:
        """The part of this process of a tensor (N, ...) that all have; N is divisible by ``size``."""
        return whole.chunk(self.size)[self.rank] if self.size > 1 else whole

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
            value = value / self.size
        return value

    def from_first(self, make: Callable[[], Any]) -> Any:
        """The result of ``make`` in the first process, broadcast to all."""
        if self.size == 1:
            return make()
        box = [make() if self.is_first else None]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


class Draws:
    """Random numbers independent of the number of processes: each process draws the whole batch and takes its share."""

    def __init__(self, generator: torch.Generator, distributed: DistributedContext) -> None:
        self.generator, self.distributed = generator, distributed

    def normal(self, count: int, *shape: int) -> Tensor:
        """Standard normal, float32 (count, *shape), on the generator's device."""
        return self._share(torch.randn, count, shape)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 (count, *shape), on the generator's device."""
        return self._share(torch.rand, count, shape)

    def _share(self, draw: Callable[..., Tensor], count: int, shape: tuple[int, ...]) -> Tensor:
        size = count * self.distributed.size, *shape
        return self.distributed.share(draw(size, generator=self.generator, device=self.generator.device))
