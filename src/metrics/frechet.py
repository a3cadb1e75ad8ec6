"""Frechet distances in the auxiliary classifier's features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.metrics.scored import Scored


class _Features(nn.Module):
    """Stands where torchmetrics expects an Inception network: the features are computed already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Frechet distance between Gaussians fitted to (N, D) and (M, D); from 0 up, lower is closer. Float64, by torchmetrics.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), Heusel et al. 2017. It shrinks with more samples: compare equal counts only.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Features(first.shape[1])).set_dtype(torch.float64)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    return max(0.0, float(metric.compute()))


def frechet_classifier_distance(generated: Scored, real: Scored) -> dict[str, float]:
    """The Frechet distance between the features of generated and real images. It does not look at labels."""
    return {"frechet_classifier_distance": frechet_distance(real.features, generated.features)}


def frechet_joint_distance(generated: Scored, real: Scored) -> dict[str, float]:
    """The Frechet distance with the one-hot label joined to the features (DeVries et al. 2019); lower is better.

    The label is scaled by the mean norm of the real features, so that both parts weigh the same. A generator that ignores
    its label has the features of real images, but not their covariance with the label.
    """
    scale = real.features.norm(dim=1).mean()
    real_joint, generated_joint = (
        torch.cat([one.features, scale * F.one_hot(one.labels, real.logits.shape[1])], dim=1)
        for one in (real, generated)
    )
    return {"frechet_joint_distance": frechet_distance(real_joint, generated_joint)}
