"""Optimisers and their learning rates."""

from collections.abc import Sequence

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
    if train.optimizer == "adam":
        return torch.optim.Adam(
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


def constant_then_linear(step: int, steps: int, decay_from: float) -> float:
    """The factor on the learning rate: 1 up to ``decay_from * steps``, then straight down to 0 at ``steps``."""
    remaining, decaying = steps - step, steps * (1 - decay_from)
    return min(1.0, max(0.0, remaining / decaying)) if decaying > 0 else 1.0


class LearningRates:
    """The rates of several optimisers over the training: ``base * scale * schedule(step)``."""

    def __init__(self, optimizers: Sequence[Optimizer], base: Sequence[float], steps: int, decay_from: float) -> None:
        self.optimizers, self.base, self.steps, self.decay_from = optimizers, base, steps, decay_from
        self.scale = 1.0
        """halved when a diverged training goes back to a checkpoint"""
        self._applied: tuple[float, ...] | None = None

    def at(self, step: int) -> tuple[float, ...]:
        """The rates after ``step`` steps."""
        factor = constant_then_linear(step, self.steps, self.decay_from)
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
