"""How different the images of a class are from one another."""

import torch
from torch import Tensor

from src.metrics.scored import Scored


def class_spread(scored: Scored, class_count: int) -> Tensor:
    """The mean distance between two images of a class in the classifier's features, per class (K,); NaN below two images."""
    spreads = []
    for label in range(class_count):
        features = scored.features[scored.labels == label]
        spreads.append(torch.pdist(features).mean() if len(features) > 1 else torch.tensor(torch.nan))
    return torch.stack(spreads)


def relative_diversity(generated: Scored, real: Scored, class_count: int) -> Tensor:
    """The spread of each class over that of real images (K,): about 1 for real images, 0 for one image repeated."""
    return class_spread(generated, class_count) / class_spread(real, class_count)
