"""Adversarial losses on logits, and penalties."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config.params import Train


class AdversarialLoss(NamedTuple):
    """The losses of both networks, functions of the logits of real and fake images, (N,) each, to a scalar to minimise."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    boundary: float | None = 0.0
    """the logit between real and fake; None if only differences of logits are meaningful"""
    paired: bool = False
    """whether the generator loss needs the logits of real images"""


def find_loss(name: str, label_smoothing: float = 0.0) -> AdversarialLoss:
    """The loss that ``train.loss`` names; ``label_smoothing`` lowers the target of real images (Salimans et al. 2016)."""
    real_target = 1 - label_smoothing
    losses = {
        # Goodfellow et al. 2014, the non-saturating form
        "bce": AdversarialLoss(
            lambda real, fake: _cross_entropy(real, real_target) + _cross_entropy(fake, 0.0),
            lambda _, fake: _cross_entropy(fake, 1.0),
        ),
        # Mao et al. 2017, labels a = 0, b = c = 1
        "least_squares": AdversarialLoss(
            lambda real, fake: _half_square(real, real_target) + _half_square(fake, 0.0),
            lambda _, fake: _half_square(fake, 1.0),
            boundary=0.5,
        ),
        # Lim and Ye 2017
        "hinge": AdversarialLoss(
            lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda _, fake: -fake.mean()
        ),
        # Arjovsky et al. 2017
        "wasserstein": AdversarialLoss(
            lambda real, fake: fake.mean() - real.mean(), lambda _, fake: -fake.mean(), boundary=None
        ),
        # Jolicoeur-Martineau 2019, in the pairing form of Huang et al. 2024 (R3GAN)
        "relativistic": AdversarialLoss(
            lambda real, fake: _cross_entropy(real - fake, 1.0),
            lambda real, fake: _cross_entropy(fake - real, 1.0),
            boundary=None,
            paired=True,
        ),
    }
    return losses[name]


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    # softplus(-x) = -log sigmoid(x) without overflow; its gradient is exact even where the sigmoid rounds to 1.
    return target * F.softplus(-logits).mean() + (1 - target) * F.softplus(logits).mean()


def _half_square(logits: Tensor, target: float) -> Tensor:
    return 0.5 * F.mse_loss(logits, torch.full_like(logits, target))


def has_gradient_penalty(train: Train) -> bool:
    """Whether any of the three gradient penalties is on."""
    return bool(train.gp_weight or train.r1_weight or train.r2_weight)


def r1_penalty(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Half the mean squared norm of the logit's gradient at images, a scalar tensor.

    R1 at real images, R2 at fake images (Mescheder et al. 2018).
    """
    return 0.5 * _squared_slopes(discriminator, images, labels).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """Mean squared deviation from 1 of the norm of the logit's gradient between real and fake images, a scalar tensor.

    ``positions`` float (N, 1, 1, 1) in 0..1 are the interpolation weights (WGAN-GP, Gulrajani et al. 2017).
    """
    slopes = _squared_slopes(discriminator, torch.lerp(real, fake.to(real.dtype), positions), labels)
    # The gradient of the root is unbounded at 0.
    return ((slopes + 1e-12).sqrt() - 1).square().mean()


def _squared_slopes(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The squared norm of the logit's gradient at each image (N,)."""
    images = images.detach().requires_grad_(True)
    logits, _ = discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def l1_penalty(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The sum of absolute values of all weights with two or more dimensions; biases and norms are excluded."""
    return torch.stack([parameter.abs().sum() for parameter in parameters if parameter.dim() > 1]).sum()
