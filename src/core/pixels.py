"""Conversion between images in files, uint8 0..255, and in networks, float in [-1, 1]."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 of any shape to float32 in [-1, 1]: 0 is -1, 255 is 1."""
    return images.to(torch.float32).mul_(2 / 255).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8 0..255, rounded and clamped; the inverse of :func:`to_float` on all 256 values."""
    return images.float().add(1).mul_(255 / 2).round_().clamp_(0, 255).to(torch.uint8)
