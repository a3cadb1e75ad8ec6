"""Optimisers and the learning-rate schedule."""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from src.params import Train


def make_optimizer(network: nn.Module, train: Train, lr: float) -> Optimizer:
    """The optimiser that ``train.optimizer`` names. Adam and SGD run fused: one call for all weights."""
    parameters = list(network.parameters())
    if train.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=lr, betas=(train.beta1, train.beta2), weight_decay=train.weight_decay, fused=True
        )
    if train.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=train.beta1, weight_decay=train.weight_decay, fused=True)
    return torch.optim.RMSprop(
        parameters, lr=lr, alpha=train.beta2, momentum=train.beta1, weight_decay=train.weight_decay, foreach=True
    )


def constant_then_linear(decay_from: float, steps: int) -> Callable[[int], float]:
    """The factor on the learning rate: 1 up to ``decay_from * steps``, then straight down to 0 at ``steps``."""

    def factor(step: int) -> float:
        remaining, decaying = steps - step, steps * (1 - decay_from)
        return min(1.0, max(0.0, remaining / decaying)) if decaying > 0 else 1.0

    return factor


def make_schedule(optimizer: Optimizer, train: Train, steps: int) -> LambdaLR:
    """The schedule of ``train.lr_decay_from``."""
    return LambdaLR(optimizer, constant_then_linear(train.lr_decay_from, steps))
