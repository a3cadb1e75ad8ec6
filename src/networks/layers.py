"""Spectral normalisation for all families, and the layers of progressive growing."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import register_parametrization


class FullPrecisionSpectralNorm(_SpectralNorm):
    """PyTorch's, in float32 under autocast, too: in bfloat16 the power iteration would follow rounding errors."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight divided by its largest singular value."""
        with torch.autocast(weight.device.type, enabled=False):
            normalised: Tensor = super().forward(weight)
        return normalised


def apply_spectral_norm(network: nn.Module) -> None:
    """Divide each weight matrix by its largest singular value (spectral normalisation, Miyato et al. 2018).

    Each forward pass in training mode performs one step of power iteration.
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)):
            register_parametrization(module, "weight", FullPrecisionSpectralNorm(module.weight))


class EqualizedLinear(nn.Linear):
    """A linear layer with standard normal weights that are scaled at run time (Karras et al. 2018).

    Adaptive optimisers then update all layers at the same speed.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = math.sqrt(2)) -> None:
        super().__init__(inputs, outputs)
        self.scale = gain / math.sqrt(inputs)
        _standard(self)

    def forward(self, vectors: Tensor) -> Tensor:
        """See :class:`torch.nn.Linear`."""
        return F.linear(vectors, self.weight * self.scale, self.bias)


class EqualizedConv(nn.Conv2d):
    """The same for a convolution that preserves the image size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(inputs * kernel**2)
        _standard(self)

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`torch.nn.Conv2d`."""
        return F.conv2d(images, self.weight * self.scale, self.bias, padding=self.padding)


def _standard(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class PixelNorm(nn.Module):
    """Normalises each vector along the channels to length sqrt(channels) (Karras et al. 2018)."""

    SMALLEST = 1e-2
    """added to the mean square; with the 1e-8 of the paper, rounding of vectors near 0 becomes visible in images"""

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, ...) to the same."""
        return values * torch.rsqrt(values.square().mean(dim=1, keepdim=True) + self.SMALLEST)


class MinibatchDeviation(nn.Module):
    """Adds a channel with the standard deviation within a group of images (Karras et al. 2018).

    Groups are neighbours in the batch, so that real and fake images in one batch are not mixed.
    """

    GROUP = 4

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + 1, H, W); N is a multiple of 4, or less than 4."""
        # In the order of channels_last, where this is a view; a channel-wise view costs a third of a training step.
        groups = images.permute(0, 2, 3, 1).reshape(-1, min(self.GROUP, len(images)), images[0].numel())
        variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)
        deviation = (variance + 1e-8).sqrt().mean(dim=1).repeat_interleave(groups.shape[1])
        planes = deviation[:, None, None, None]
        return torch.cat([images, planes.expand(-1, 1, *images.shape[2:])], dim=1)
