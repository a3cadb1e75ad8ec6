"""The one number that training, tuning and the registry minimise."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from .scored import Scored

COPIES_ALLOWED = 0.05
"""of ``copied_share``, which is 0.01 for real images: below this it is chance, or images that are merely typical"""
NUMBERS = ("frechet_classifier_distance", "frechet_joint_distance", "copied_share")
"""of the scorecard, that it is made from"""


def objective(values: Mapping[str, float], real: Scored, *, conditional: bool) -> float:
    """From the scorecard's values, on the validation split: the Frechet joint distance, and a fine for copies.

    It grows when images are poor, when they are all alike, when they do not follow their label, and when they are copies of
    training images. For a generator that takes no label it is the Frechet classifier distance with the same fine. The fine
    is the share of copies above 5 % times the spread of the real images, so that a generator which copies everything is no
    better than one that gives a single image.
    """
    rows = {name: torch.tensor([values[name]], dtype=torch.float64) for name in NUMBERS if name in values}
    return float(objective_rows(rows, real, conditional=conditional)[0])


def objective_rows(rows: Mapping[str, Tensor], real: Scored, *, conditional: bool) -> Tensor:
    """The same for the value and each of its resamples: float64 (1 + R,)."""
    distance = rows["frechet_joint_distance" if conditional else "frechet_classifier_distance"]
    fine = (rows["copied_share"] - COPIES_ALLOWED).clamp(min=0) * real.keep("spread", lambda: _spread(real))
    return distance + fine


def _spread(real: Scored) -> float:
    """The trace of the covariance of the features joined with the label: the Frechet joint distance of a single point, the
    mean of both. A single image asked for with the labels of the real ones is nearer by the label's part of the trace.
    """
    features = real.features.double()
    labels = F.one_hot(real.labels, real.class_count).double().var(dim=0).sum()
    return float(features.var(dim=0).sum() + features.norm(dim=1).mean().square() * labels)
