"""Scored images without a classifier: features and logits drawn from a seed."""

import torch

from src.metrics.scored import Scored


def scored(count: int = 300, size: int = 6, classes: int = 4, seed: int = 0, shift: float = 0.0) -> Scored:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, size, generator=torch.Generator().manual_seed(99)) * 2
    features = centres[labels] + torch.randn(count, size, generator=rng) + shift
    return Scored(features, 2 * torch.randn(count, classes, generator=rng), labels)


def certain(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> Scored:
    """A classifier that has no doubt."""
    logits = torch.full((len(labels), classes), -1000.0).scatter(1, predicted[:, None], 1000.0)
    return Scored(torch.zeros(len(labels), 1), logits, labels)
