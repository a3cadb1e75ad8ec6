"""How different the images of a class are from one another."""

import torch
from torch import Tensor

from ..scored import Scored


def class_spread(scored: Scored, class_count: int) -> Tensor:
    """The mean distance between two images of a class in the classifier's features, per class (K,); NaN below two images."""
    spreads = []
    for label in range(class_count):
        features = scored.features[scored.labels == label]
        spreads.append(torch.pdist(features).mean() if len(features) > 1 else torch.tensor(torch.nan))
    return torch.stack(spreads)
