"""All metrics of a set of images against real ones."""

from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor

from .catalogue import BY_CLASS, CATALOGUE, CLASSES_ALONE, about
from .metrics.class_balance import class_balance
from .metrics.classifier_score import classifier_score
from .metrics.frechet import frechet_distances
from .metrics.gan_test import gan_test
from .metrics.kernel import kernel_classifier_distance
from .metrics.memorisation import memorisation
from .metrics.neighbours import neighbour_scores
from .scored import Scored

Rows = dict[str, Tensor]
"""Numbers by name: each (1 + R,), the value and then that of each resample; or (1 + R, K), by class."""
Metric = Callable[[Scored, Scored], Rows]
"""Generated and real images to numbers."""


def quick_metrics(nearest_k: int) -> tuple[Metric, ...]:
    """Those that guide a training: a second or two for 5,000 images on two CPU cores."""
    neighbours = partial(neighbour_scores, nearest_k=nearest_k)
    return gan_test, frechet_distances, classifier_score, neighbours, memorisation


def all_metrics(nearest_k: int) -> tuple[Metric, ...]:
    """Every metric that needs nothing but the classifier's view of the images."""
    return *quick_metrics(nearest_k), kernel_classifier_distance, class_balance


def scorecard(metrics: Iterable[Metric], generated: Scored, real: Scored, *, conditional: bool = True) -> Rows:
    """The rows of every number, in the catalogue's order; those about labels only for a ``conditional`` generator.

    Raises ValueError when the two have not the same number of resamples.
    """
    if len(generated.weights) != len(real.weights):
        ours, theirs = (len(one.weights) - 1 for one in (generated, real))
        raise ValueError(f"{ours} resamples of the generated images, {theirs} of the real ones")
    found = {name: rows for metric in metrics for name, rows in metric(generated, real).items()}
    order = [*CATALOGUE, *CLASSES_ALONE]
    names = sorted(found, key=lambda name: order.index(name if name in order else name.removesuffix(BY_CLASS)))
    return {name: found[name] for name in names if conditional or not about(name).labelled}


def values(rows: Rows) -> dict[str, float]:
    """The overall values alone."""
    return {name: float(some[0]) for name, some in rows.items() if some.ndim == 1}
