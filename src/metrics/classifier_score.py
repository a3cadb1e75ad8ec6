"""Classifier score: the Inception Score in the auxiliary classifier's classes."""

import math

import torch
from torch.nn import functional as F

from src.metrics.scored import Scored


def classifier_score(generated: Scored, real: Scored) -> dict[str, float]:
    """exp of the mean KL divergence between p(y|x) and p(y), from 1 to the number of classes; higher is better.

    As TF-GAN's ``classifier_score`` (Salimans et al. 2016), computed over all images at once and in float64. It looks at
    the generated images only: one perfect image a class already has a high score. ``real`` is not used.
    """
    log_conditional = F.log_softmax(generated.logits.double(), dim=1)
    log_marginal = torch.logsumexp(log_conditional, dim=0) - math.log(len(generated))
    divergence = (log_conditional.exp() * (log_conditional - log_marginal)).sum(dim=1)
    return {"classifier_score": float(divergence.mean().exp())}
