"""Networks small enough for a test, with weights from a seed."""

import torch

from src.config.params import FAMILIES as FAMILY_PATHS
from src.networks.classifier import build_classifier
from src.networks.description import build_pair
from src.networks.family import find_family
from src.networks.interface import Classifier, Discriminator, Generator

FAMILIES = tuple(FAMILY_PATHS)
CONDITIONINGS = ("none", "concat", "embedding", "projection", "auxiliary", "batch_norm")
PAIRS = [(family, one) for family in FAMILIES for one in CONDITIONINGS if one in find_family(family).conditionings]
"""every family with every conditioning that it has"""
LATENT = 5
CLASSES = 3


def pair(
    family: str = "mlp",
    conditioning: str = "projection",
    *,
    channels: int = 1,
    size: int = 8,
    seed: int = 0,
    class_count: int = CLASSES,
    dropout: float = 0.0,
    spectral_norm: bool = False,
) -> tuple[Generator, Discriminator]:
    torch.manual_seed(seed)
    return build_pair(
        family,
        conditioning=conditioning,
        channels=channels,
        image_size=size,
        class_count=class_count,
        latent_size=LATENT,
        hidden_sizes=[16, 24],
        width=8,
        dropout=dropout,
        spectral_norm=spectral_norm,
    )


def classifier(*, channels: int = 1, size: int = 8, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return build_classifier(
        class_count=CLASSES, channels=channels, image_size=size, width=4, feature_size=7, dropout=0.5
    )


def batch(count: int = 8, *, channels: int = 1, size: int = 8, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Images in [-1, 1], labels of every class in turn, latents."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(count, channels, size, size, generator=rng) * 2 - 1
    return images, torch.arange(count) % CLASSES, torch.randn(count, LATENT, generator=rng)
