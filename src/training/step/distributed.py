"""The distributed context of a run, and random numbers that do not depend on the number of processes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d
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

    def synchronise(self, network: nn.Module) -> None:
        """With several processes, replace the network's batch norms by those over the whole batch."""
        for module in list(network.modules()) if self.size > 1 else []:
            for name, child in module.named_children():
                known = isinstance(child, BatchNorm1d | BatchNorm2d | BatchNorm3d)
                if known and type(child).forward is BatchNorm2d.forward:  # not a user's own
                    setattr(module, name, SynchronisedBatchNorm(child))

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


class _Sum(torch.autograd.Function):
    """The sum over the processes, of a value and of its gradient; differentiable twice, as gradient penalties require."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradient)
        return total


class SynchronisedBatchNorm(BatchNorm2d):
    """Batch norm over the batches of all processes, which have equal sizes.

    :class:`torch.nn.SyncBatchNorm` does not support CPUs. In evaluation mode, and alone, it is that of PyTorch.
    """

    def __init__(self, norm: Any) -> None:
        """It takes over the parameters and buffers of ``norm``, which is one of PyTorch's."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, parameter in norm.named_parameters():
            setattr(self, name, parameter)
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        values = input.float()  # under autocast, too
        others, shape = [0, *range(2, input.dim())], (1, -1, *[1] * (input.dim() - 2))
        processes = dist.get_world_size()
        mean: Tensor = _Sum.apply(values.mean(others)) / processes
        centred = values - mean.view(shape)
        variance: Tensor = _Sum.apply(centred.square().mean(others)) / processes
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                count = input.numel() // input.shape[1] * processes
                weight = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, weight)
                self.running_var.lerp_(variance * (count / (count - 1)), weight)
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = torch.addcmul(self.bias.view(shape), normalised, self.weight.view(shape))
        return normalised.to(input.dtype)


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
