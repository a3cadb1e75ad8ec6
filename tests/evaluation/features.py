"""Scored images without a classifier: features, logits and distances drawn from a seed; and what resamples mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.config.params import Evaluate
from src.evaluation.bootstrap import resamples
from src.evaluation.catalogue import METRICS
from src.evaluation.metric import Context, Rows, discover, rows
from src.evaluation.scored import Scored

NAMES = ("features", "logits", "labels")
UNLABELLED = {
    "frechet_classifier_distance",
    "classifier_score",
    "precision",
    "recall",
    "density",
    "coverage",
    "memorisation",
    "copied_share",
}
"""The judge's numbers that are not about labels."""


def scored(count: int = 300, size: int = 6, classes: int = 4, seed: int = 0, shift: float = 0.0) -> Scored:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, size, generator=torch.Generator().manual_seed(99)) * 2
    features = centres[labels] + torch.randn(count, size, generator=rng) + shift
    logits = 2 * torch.randn(count, classes, generator=rng)
    # In steps of 1/50: many are equal.
    return Scored(features, logits, labels, torch.randint(1, 100, (count,), generator=rng) / 50)


def certain(predicted: Tensor, labels: Tensor, classes: int) -> Scored:
    """A classifier that has no doubt."""
    logits = torch.full((len(labels), classes), -1000.0).scatter(1, predicted[:, None], 1000.0)
    return Scored(torch.zeros(len(labels), 1), logits, labels)


def resampled(one: Scored, count: int = 3, seed: int = 0) -> Scored:
    return one.resampled(resamples(one.labels, count, seed))


def chosen(one: Scored, places: Tensor) -> Scored:
    """The images at these places, in this order; without resamples."""
    distances = None if one.train_distances is None else one.train_distances[places]
    return Scored(one.features[places], one.logits[places], one.labels[places], distances)


def repeated(one: Scored, row: int) -> Scored:
    """The images of a row of the weights, each literally there as often as it counts."""
    return chosen(one, torch.arange(len(one)).repeat_interleave(one.weights[row].long()))


def together(parts: Sequence[Scored]) -> Scored:
    """Images that were scored apart, in one; without distances and resamples."""
    features, logits, labels = (torch.cat([getattr(one, name) for one in parts]) for name in NAMES)
    return Scored(features, logits, labels)


def double(one: Scored) -> Scored:
    return Scored(one.features.double(), one.logits.double(), one.labels, one.train_distances, one.resamples)


def value(rows: Tensor) -> float:
    """The value of a metric without resamples."""
    assert rows.shape == (1,)
    assert rows.dtype == torch.float64
    return float(rows[0])


CHEAP = Evaluate(gan_train=False, reconstructions=0)
"""no metric that trains or searches"""


def quick_rows(generated: Scored, real: Scored, nearest_k: int = 5) -> Rows:
    settings = CHEAP.model_copy(update={"nearest_k": nearest_k})
    return rows(discover(".metrics.quick"), generated, real, Context(settings))


def every_row(generated: Scored, real: Scored, *, nearest_k: int = 5, conditional: bool = True) -> Rows:
    """Of each metric that needs only the features."""
    context = Context(CHEAP.model_copy(update={"nearest_k": nearest_k}), conditional)
    return rows([metric for metric in METRICS if metric.when(context)], generated, real, context)
