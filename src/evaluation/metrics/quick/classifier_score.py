"""Classifier score: the Inception Score in the judge's classes."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ....core.lazy import lazy
from ...metric import LIKENESS, Metric, Number

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ...scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")


def classifier_score(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """exp of the mean KL divergence between p(y|x) and p(y), from 1 to the number of classes; higher is better.

    As TF-GAN's ``classifier_score`` (Salimans et al. 2016), over all images at once and in float64. It uses the generated
    images only: one perfect image per class already has a high score. ``real`` is unused.
    """
    logs = F.log_softmax(generated.logits.double(), dim=1)
    shares = logs.exp()
    weights = generated.weights / len(generated)
    marginal = weights @ shares
    divergence = weights @ (shares * logs).sum(dim=1) - torch.special.xlogy(marginal, marginal).sum(dim=1)
    # Rounding may make it slightly negative.
    return {"classifier_score": divergence.clamp(min=0).exp()}


METRIC = Metric(
    {"classifier_score": Number("Classifier score", "higher", LIKENESS, lowest=1, highest=inf)},
    lambda generated, real, _: classifier_score(generated, real),
    source="Salimans et al. 2016 (Inception Score), as TF-GAN's `classifier_score`",
    place=30,
)
