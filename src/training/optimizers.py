"""Optimisers and their learning rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from src.params import Train


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
