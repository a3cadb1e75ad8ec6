"""Adversarial losses on logits; none of them takes a sigmoid before a logarithm."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class AdversarialLoss(NamedTuple):
    """Both sides of the game. Each returns a scalar tensor to minimise."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits (N,), fake logits (N,)) -> loss"""
    generator: Callable[[Tensor], Tensor]
    """(fake logits (N,)) -> loss"""


def _bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # softplus(-x) = -log sigmoid(x), without overflow
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _bce_generator(fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake)))


def _least_squares_generator(fake: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(fake, torch.ones_like(fake))


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


LOSSES: dict[str, AdversarialLoss] = {
    # Goodfellow et al. 2014, the non-saturating form
    "bce": AdversarialLoss(_bce_discriminator, _bce_generator),
    # Mao et al. 2017, labels a = 0, b = c = 1
    "least_squares": AdversarialLoss(_least_squares_discriminator, _least_squares_generator),
    # Lim and Ye 2017
    "hinge": AdversarialLoss(_hinge_discriminator, _hinge_generator),
}
