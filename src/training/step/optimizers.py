"""Optimisers, learning rate schedules, and the exponential moving average of the generator."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...config.params import Train
from ...networks.interface import Generator


def make_optimizer(network: nn.Module, train: Train, lr: float) -> Optimizer:
    """The optimiser that ``train.optimizer`` names; Adam and SGD are fused.

    On a GPU the learning rate is a tensor, so that captured steps can change it.
    """
    parameters = list(network.parameters())
    on_gpu = parameters[0].is_cuda
    rate: float | Tensor = torch.tensor(lr, device=parameters[0].device) if on_gpu else lr
    if train.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if train.optimizer == "adam" else torch.optim.AdamW
        return kind(
            parameters,
            lr=rate,
            betas=(train.beta1, train.beta2),
            weight_decay=train.weight_decay,
            fused=True,
            capturable=on_gpu,
        )
    if train.optimizer == "sgd":
        decay = train.weight_decay
        sgd = torch.optim.SGD(parameters, lr=rate, momentum=train.beta1, weight_decay=decay, fused=True)
        if train.beta1:
            # The fused kernel fails if only some weights have a buffer, as when layers of a growing network join later.
            for parameter in parameters:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return torch.optim.RMSprop(
        parameters,
        lr=rate,
        alpha=train.beta2,
        momentum=train.beta1,
        weight_decay=train.weight_decay,
        foreach=True,
        capturable=on_gpu,
    )


@dataclass(frozen=True)
class Schedule:
    """The factor on the learning rates during a run: warm-up from 0 to 1, constant, decay to 0."""

    steps: int
    shape: str = "linear"
    """of the decay: linear, or cosine (half a period, Loshchilov and Hutter 2017)"""
    decay_from: float = 1.0
    """share of the run at which the decay starts; 1: never"""
    warmup: float = 0.0
    """share of the run with linear warm-up"""

    def __call__(self, step: int) -> float:
        """The factor after ``step`` steps."""
        rising = self.warmup * self.steps
        factor = min(1.0, (step + 1) / rising) if rising else 1.0
        decaying = self.steps * (1 - self.decay_from)
        left = min(1.0, max(0.0, (self.steps - step) / decaying)) if decaying > 0 else 1.0
        return factor * (left if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


class LearningRates:
    """The learning rates of several optimisers: ``base * scale * schedule(step)``."""

    def __init__(self, optimizers: Sequence[Optimizer], base: Sequence[float], schedule: Schedule) -> None:
        self.optimizers, self.base, self.schedule = optimizers, base, schedule
        self.scale = 1.0
        """halved at each rollback"""
        self._applied: tuple[float, ...] | None = None

    def at(self, step: int) -> tuple[float, ...]:
        """The learning rates after ``step`` steps."""
        factor = self.schedule(step)
        return tuple(rate * self.scale * factor for rate in self.base)

    def apply(self, step: int) -> None:
        """Set the learning rates of the optimisers after ``step`` steps."""
        rates = self.at(step)
        if rates == self._applied:
            return
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        self._applied = rates

    def state_dict(self) -> dict[str, float]:
        """The scale; everything else follows from the parameters."""
        return {"scale": self.scale}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the scale; the next :meth:`apply` sets every learning rate, overriding the states of the optimisers."""
        self.scale, self._applied = state["scale"], None


class AveragedGenerator:
    """Exponential moving average, in ``.network``, of the floating-point weights and buffers of a generator.

    The decay is ``min(decay, (1 + step) / (10 + step))``, so that the initial weights are forgotten quickly.
    """

    def __init__(self, source: Generator, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        self._targets, self._sources = _floats(self.network), _floats(source)
        device = self._targets[0].device
        # A tensor on a GPU, so that captured steps can change it.
        self._on_gpu = torch.zeros((), device=device) if device.type == "cuda" else None
        self._weight = 0.0

    def prepare(self, step: int) -> None:
        """Set the weight of the next update; ``step`` counts from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        if self._on_gpu is not None and weight != self._weight:
            self._on_gpu.fill_(weight)
        self._weight = weight

    @torch.no_grad()
    def update(self) -> None:
        """Update the average."""
        if self._on_gpu is None:
            torch._foreach_lerp_(self._targets, self._sources, self._weight)
            return
        moves = torch._foreach_sub(self._sources, self._targets)
        torch._foreach_mul_(moves, self._on_gpu)
        torch._foreach_add_(self._targets, moves)


def _floats(network: nn.Module) -> list[Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
