"""What is added to a loss: penalties on the discriminator's gradient at images, and L1 on the weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from src.params import Train


def has_gradient_penalty(train: Train) -> bool:
    """Whether one of the three gradient penalties is on, every ``train.penalty_interval`` steps."""
    return bool(train.gp_weight or train.r1_weight or train.r2_weight)


def r1_penalty(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Half the squared norm of the logit's gradient at images, averaged. A scalar tensor.

    R1 at real images, R2 at fake ones: Mescheder et al. 2018.
    """
    return 0.5 * _squared_slopes(discriminator, images, labels).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """How far the norm of the logit's gradient is from 1, squared and averaged, at points between real and fake images.

    ``positions`` float (N, 1, 1, 1) in 0..1 says where between the two. WGAN-GP: Gulrajani et al. 2017. A scalar tensor.
    """
    slopes = _squared_slopes(discriminator, torch.lerp(real, fake.to(real.dtype), positions), labels)
    # The root's own slope has no end at 0.
    return ((slopes + 1e-12).sqrt() - 1).square().mean()


def _squared_slopes(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The squared norm of the logit's gradient at each image (N,)."""
    images = images.detach().requires_grad_(True)
    logits, _ = discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def l1_penalty(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The sum of absolute values of all weights with two or more dimensions; biases and norms are left free."""
    return torch.stack([parameter.abs().sum() for parameter in parameters if parameter.dim() > 1]).sum()
