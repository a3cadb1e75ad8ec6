"""All metrics of a set of images against real ones, and the short form that guides the training."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from src.metrics.agreement import agreement
from src.metrics.classifier_score import classifier_score
from src.metrics.diversity import class_spread
from src.metrics.frechet import frechet_classifier_distance, frechet_joint_distance
from src.metrics.neighbours import neighbour_scores
from src.metrics.scored import Scored, score_images
from src.networks.interface import Classifier, Generator
from src.networks.sampling import generate

DIVERSITY_SEED = 2_000_000_011
DIVERSITY_IMAGES = 20
"""of each class: 190 pairs"""

Metric = Callable[[Scored, Scored], dict[str, float]]


def metrics(nearest_k: int) -> tuple[Metric, ...]:
    """Every metric, each a function of (generated, real) to named numbers."""
    neighbours = partial(neighbour_scores, nearest_k=nearest_k)
    return classifier_score, frechet_classifier_distance, frechet_joint_distance, agreement, neighbours


def scorecard(generated: Scored, real: Scored, nearest_k: int = 5) -> dict[str, float]:
    """All numbers by name."""
    return {name: value for metric in metrics(nearest_k) for name, value in metric(generated, real).items()}


class ValidationJudge:
    """Scores a generator against validation images, always from the same latents and labels.

    The number to minimise, ``score``, is the Frechet joint distance: it grows when images are poor, when they are all
    alike, and when they do not follow their label.
    """

    def __init__(
        self, classifier: Classifier, images: Tensor, labels: Tensor, samples: int, nearest_k: int = 5
    ) -> None:
        """uint8 images (N, C, H, W) and int64 labels (N,) of the validation split; at most ``samples`` are used."""
        self.classifier, self.nearest_k = classifier, nearest_k
        self.real = score_images(classifier, images[:samples], labels[:samples])
        self.seeds = torch.arange(len(self.real))
        self.class_count = self.real.logits.shape[1]
        self._real_spread = class_spread(self.real, self.class_count)

    def __call__(self, generator: Generator) -> dict[str, float]:
        """All numbers of the scorecard, and ``score``."""
        images = generate(generator, self.real.labels, self.seeds)
        values = scorecard(score_images(self.classifier, images, self.real.labels), self.real, self.nearest_k)
        return {"score": values["frechet_joint_distance"], **values}

    def diversity(self, generator: Generator) -> Tensor:
        """How different the images of each class are from one another (K,): 1 as real ones, 0 one image repeated, NaN unknown.

        A quick look with few images, for the training's health and no score.
        """
        labels = torch.arange(self.class_count).repeat_interleave(DIVERSITY_IMAGES)
        images = generate(generator, labels, DIVERSITY_SEED + torch.arange(len(labels)))
        return class_spread(score_images(self.classifier, images, labels), self.class_count) / self._real_spread
