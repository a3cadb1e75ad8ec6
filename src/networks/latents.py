"""Latent vectors from seeds: row n depends on seed n alone, on any device and in any batch."""

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def latents_from_seeds(seeds: Tensor, latent_size: int) -> Tensor:
    """Standard normal latents, float32 (N, latent_size), from seeds int64 (N,).

    Counter-based: SplitMix64 (Steele, Lea and Flood 2014) maps seed and column to uniform bits, the Box-Muller transform
    (1958) maps those to normals. A torch.Generator depends on batch and device, and cannot be exported with the network.
    """
    pairs = (latent_size + 1) // 2
    columns = torch.arange(1, 2 * pairs + 1, dtype=torch.int64, device=seeds.device)
    uniform = _uniform(_mix(_mix(seeds[:, None] + _GOLDEN) + columns * _GOLDEN))
    radius = torch.sqrt(-2 * torch.log(uniform[:, :pairs]))
    angle = 2 * math.pi * uniform[:, pairs:]
    normal = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return normal[:, :latent_size].to(torch.float32)


def _mix(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64; int64 products wrap around like the unsigned ones of the paper."""
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    mixed: Tensor = bits ^ _shift_right(bits, 31)
    return mixed


def _shift_right(bits: Tensor, count: int) -> Tensor:
    """A logical shift; that of torch copies the sign bit of int64."""
    kept: int = 2 ** (64 - count) - 1
    return (bits >> count) & kept


def _uniform(bits: Tensor) -> Tensor:
    """The top 53 bits as float64 in (0, 1], so that the logarithm is finite."""
    return (_shift_right(bits, 11).to(torch.float64) + 0.5) * 2.0**-53
