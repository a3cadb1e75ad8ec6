"""What the benchmarks train: the parameters of params.yaml, and images that hold nothing."""

import torch
from torch import Tensor

from src.config.params import Params

FAMILIES = ("mlp", "compact")
RECOMMENDED: dict[str, dict[str, float]] = {
    "mlp": {"train.batch_size": 256, "train.lr_generator": 1e-3, "train.lr_discriminator": 1e-3},
    "compact": {"train.batch_size": 64, "train.lr_generator": 4e-3, "train.lr_discriminator": 2e-3},
}
"""Batch size and learning rates that suit a family."""


def for_family(base: Params, family: str) -> Params:
    """``base`` as it is where it has the family, otherwise with what suits it."""
    if base.model.family == family:
        return base
    return base.replace({"model.family": family, **RECOMMENDED[family]})


def random_images(count: int, size: int = 28, seed: int = 0, channels: int = 1) -> tuple[Tensor, Tensor]:
    """uint8 (N, channels, size, size) and labels int64 (N,) of ten classes, on the CPU."""
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, size, size), generator=source, dtype=torch.uint8)
    return images, torch.randint(0, 10, (count,), generator=source)
