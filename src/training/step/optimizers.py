"""What moves the weights: optimisers, schedules of learning rates, and the exponential moving average."""

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
    """The optimiser that ``train.optimizer`` names. Adam and SGD run fused: one call for all weights.

    On a GPU the rate is a tensor there, so that a captured step can be replayed with another one.
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
        return torch.optim.SGD(parameters, lr=rate, momentum=train.beta1, weight_decay=train.weight_decay, fused=True)
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
    """The factor on the learning rates over a training: up from 0, then 1, then down to 0."""

    steps: int
    shape: str = "linear"
    """of the way down: linear, or cosine (half a wave, Loshchilov and Hutter 2017)"""
    decay_from: float = 1.0
    """share of the training at which the way down begins; 1: never"""
    warmup: float = 0.0
    """share of the training in which it rises, linearly"""

    def __call__(self, step: int) -> float:
        """The factor for the step that follows ``step`` others."""
        rising = self.warmup * self.steps
        factor = min(1.0, (step + 1) / rising) if rising else 1.0
        decaying = self.steps * (1 - self.decay_from)
        left = min(1.0, max(0.0, (self.steps - step) / decaying)) if decaying > 0 else 1.0
        return factor * (left if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


class LearningRates:
    """The rates of several optimisers over the training: ``base * scale * schedule(step)``."""

    def __init__(self, optimizers: Sequence[Optimizer], base: Sequence[float], schedule: Schedule) -> None:
        self.optimizers, self.base, self.schedule = optimizers, base, schedule
        self.scale = 1.0
        """halved when a diverged training goes back to a checkpoint"""
        self._applied: tuple[float, ...] | None = None

    def at(self, step: int) -> tuple[float, ...]:
        """The rates after ``step`` steps."""
        factor = self.schedule(step)
        return tuple(rate * self.scale * factor for rate in self.base)

    def apply(self, step: int) -> None:
        """Give the optimisers their rates for the step that follows ``step`` others."""
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
        """The scale; the rest follows from the parameters."""
        return {"scale": self.scale}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over the scale; the next ``apply`` sets every rate, whatever the optimisers' own states brought."""
        self.scale, self._applied = state["scale"], None


class AveragedGenerator:
    """Holds ``.network``, whose floating-point weights and buffers follow those of the trained one.

    The decay grows with the step as ``min(decay, (1 + step) / (10 + step))``, so that the random start is forgotten soon.
    """

    def __init__(self, source: Generator, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        self._targets, self._sources = _floats(self.network), _floats(source)
        device = self._targets[0].device
        # On a GPU the weight is a tensor there, so that a captured step can be replayed with another one.
        self._on_gpu = torch.zeros((), device=device) if device.type == "cuda" else None
        self._weight = 0.0

    def prepare(self, step: int) -> None:
        """Set how far the next update goes; ``step`` counts from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        if self._on_gpu is not None and weight != self._weight:
            self._on_gpu.fill_(weight)
        self._weight = weight

    @torch.no_grad()
    def update(self) -> None:
        """Move every weight a little towards its source."""
        if self._on_gpu is None:
            torch._foreach_lerp_(self._targets, self._sources, self._weight)
            return
        moves = torch._foreach_sub(self._sources, self._targets)
        torch._foreach_mul_(moves, self._on_gpu)
        torch._foreach_add_(self._targets, moves)


def _floats(network: nn.Module) -> list[Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
