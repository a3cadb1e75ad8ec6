"""Frechet distances in the judge's features: overall, by class, and joint with the label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from ....core.lazy import lazy
from ...metric import LIKENESS, Metric, Number, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...scored import Scored
else:
    torch = lazy("torch")

NAMES = ("frechet_classifier_distance", "frechet_joint_distance", "frechet_classifier_distance_by_class")
CHUNK_ELEMENTS = 2**23
"""of the second moments held at once: 64 MB in float64"""
KEPT_ELEMENTS = 2**26
"""of the roots of the real images that are kept for the next set of generated ones: 512 MB"""


def frechet_distances(generated: Scored, real: Scored, *, by_class: bool = True) -> dict[str, Tensor]:
    """Three distances between Gaussians fitted to generated and real images; from 0 up, lower is better. In float64.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), Heusel et al. 2017. It decreases with more samples: compare equal counts only.

    ``frechet_classifier_distance`` is between the features, regardless of labels; ``..._by_class`` (1 + R, K) is the
    same for each class asked for, NaN where a class has fewer than 2 images; it takes most of the time, and is left out
    unless ``by_class``. ``frechet_joint_distance`` (DeVries et al. 2019) has the one-hot label joined to the features, scaled
    by the mean norm of the real ones, so that both parts have equal weight: a generator that ignores its label has the
    features of real images, but not their covariance with the label.
    """
    need(min(len(generated), len(real)), 2, "the Frechet distances")
    centre, label_scale = real.keep("frechet scale", partial(_scale, real.features.double()))
    names = NAMES if by_class else NAMES[:-1]
    ours, others = ((some[: len(names)] for some in _gaussians(one, centre, label_scale)) for one in (generated, real))
    theirs: Iterable[Sequence[_Rooted]] = ([one.rooted() for one in some] for some in others)
    if len(real.weights) * real.class_count * real.features.shape[1] ** 2 <= KEPT_ELEMENTS:
        theirs = real.keep(f"frechet {len(names)}", partial(list, theirs))
    chunks = [
        [one.distance(other) for one, other in zip(*pair, strict=True)] for pair in zip(ours, theirs, strict=True)
    ]
    return {name: torch.cat(rows) for name, rows in zip(names, zip(*chunks, strict=True), strict=True)}


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """The Frechet distance between features (N, D) and (M, D), labels aside."""
    once = (features.new_ones(1, len(features), dtype=torch.float64) for features in (generated, real))
    return float(next(frechet_rows(generated, real, *once)))


def frechet_rows(generated: Tensor, real: Tensor, weights: Tensor, real_weights: Tensor) -> Iterator[Tensor]:
    """The Frechet distance, labels aside, between features (N, D) and (M, D) for each row of their weights in turn.

    The weights are (R, N) and (R, M). One row is held at a time: for many features, whose moments are large.
    """
    # Second moments of features far from zero lose digits.
    centre = real.double().mean(dim=0)
    ours, theirs = (features.double() - centre for features in (generated, real))
    for row, real_row in zip(weights.split(1), real_weights.split(1), strict=True):
        yield _fit(*_moments(ours, row)).distance(_fit(*_moments(theirs, real_row)).rooted())[0]


@dataclass(frozen=True)
class _Gaussian:
    """Means (..., D) and covariances (..., D, D), and those of a root R, with R R' the covariance."""

    mean: Tensor
    covariance: Tensor

    def rooted(self) -> _Rooted:
        """The same with a root of the covariance in its place."""
        # A resampled class may be empty; eigh does not accept NaN.
        covariance = self.covariance.nan_to_num()
        root, failed = torch.linalg.cholesky_ex(covariance)
        if failed.any():  # A singular one. The eigenvectors are always found, in five times as long.
            values, vectors = torch.linalg.eigh(covariance)
            root = vectors * values.clamp(min=0).sqrt()[..., None, :]
        return _Rooted(self.mean, root, self.covariance.diagonal(dim1=-2, dim2=-1).sum(-1))

    def distance(self, other: _Rooted) -> Tensor:
        """The Frechet distance (...). The eigenvalues of C1 C2 are those of R1' C2 R1, which is symmetric."""
        product = other.root.mT @ self.covariance.nan_to_num() @ other.root
        # Rounding may make some slightly negative.
        crossed = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum(-1)
        traces = self.covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + other.trace
        apart: Tensor = (self.mean - other.mean).square().sum(-1) + traces - 2 * crossed
        return apart.clamp(min=0)


@dataclass(frozen=True)
class _Rooted:
    mean: Tensor
    root: Tensor
    trace: Tensor


def _gaussians(scored: Scored, centre: Tensor, label_scale: float) -> Iterator[tuple[_Gaussian, _Gaussian, _Gaussian]]:
    """Of all features less ``centre``, of those joined with the label, and of each class (a further dimension).

    In chunks of resamples that fit in memory.
    """
    from ....core.device import on_cpu

    features, classes = scored.features.double() - centre, scored.class_count
    for weights in scored.weights.split(max(1, CHUNK_ELEMENTS // (classes * features.shape[1] ** 2))):
        by_class = (_moments(features[places], weights[:, places]) for places in scored.members)
        # On the CPU: a GPU computes the eigenvalues of many small matrices sequentially, which is slower.
        counts, sums, products = on_cpu(torch.stack(moments, dim=1) for moments in zip(*by_class, strict=True))
        across, labels = label_scale * sums, label_scale**2 * torch.diag_embed(counts)
        joint = torch.cat([torch.cat([products.sum(1), across.mT], dim=2), torch.cat([across, labels], dim=2)], dim=1)
        joint_sums = torch.cat([sums.sum(1), label_scale * counts], dim=1)
        yield (
            _fit(counts.sum(1), sums.sum(1), products.sum(1)),
            _fit(counts.sum(1), joint_sums, joint),
            _fit(counts, sums, products),
        )


def _scale(features: Tensor) -> tuple[Tensor, float]:
    """The centre (D,) of the real features float64 (N, D), and their mean norm, the scale of the one-hot labels."""
    return features.mean(dim=0), float(features.norm(dim=1).mean())


def _moments(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts (R,), sums (R, D) and second moments (R, D, D) of features (N, D) that count by weights (R, N)."""
    products = torch.stack([features.T @ (row[:, None] * features) for row in weights])
    return weights.sum(dim=1), weights @ features, products


def _fit(counts: Tensor, sums: Tensor, products: Tensor) -> _Gaussian:
    means = sums / counts[..., None]
    covariances = (products - sums[..., None] * means[..., None, :]) / (counts[..., None, None] - 1)
    return _Gaussian(means, covariances)


METRIC = Metric(
    {
        "frechet_classifier_distance": Number("Frechet classifier distance", "lower", LIKENESS, highest=inf),
        "frechet_joint_distance": Number("Frechet joint distance", "lower", LIKENESS, highest=inf, labelled=True),
        "frechet_classifier_distance_by_class": Number(
            "Frechet classifier distance", "lower", LIKENESS, highest=inf, labelled=True
        ),
    },
    lambda generated, real, context: frechet_distances(generated, real, by_class=context.by_class),
    source="Heusel et al. 2017 (FID), in the classifier's features as in TF-GAN; DeVries et al. 2019 (FJD)",
    place=10,
)
