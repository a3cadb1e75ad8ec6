"""What is added to a loss: the gradient penalty R1, and L1 on the weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def r1_penalty(discriminator: nn.Module, real: Tensor, labels: Tensor) -> Tensor:
    """Half the squared norm of the logit's gradient at real images, averaged (Mescheder et al. 2018). A scalar tensor."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real, labels).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def l1_penalty(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The sum of absolute values of all weights with two or more dimensions; biases and norms are left free."""
    return torch.stack([parameter.abs().sum() for parameter in parameters if parameter.dim() > 1]).sum()
