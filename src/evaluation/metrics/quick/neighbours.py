"""Precision, recall, density and coverage from k nearest neighbours in the judge's features."""

from __future__ import annotations

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

BLOCK = 500
"""Rows of a distance matrix held at once: 20 MB in float32 for 10,000 images, which fit in a CPU's cache."""


def neighbour_scores(generated: Scored, real: Scored, *, nearest_k: int = 5) -> dict[str, Tensor]:
    """Four shares of images; precision, recall and coverage from 0 to 1, density from 0 up; higher is better.

    precision: generated images inside the neighbourhood of a real one (fidelity); recall: real images inside the
    neighbourhood of a generated one (variety) (Kynkaanniemi et al. 2019). density: how many real neighbourhoods a generated
    image is in, over k; coverage: real images with a generated one in their neighbourhood (Naeem et al. 2020).
    A neighbourhood reaches to the k-th nearest image of the same kind. Equal to the package ``prdc``.

    In a resample the neighbourhoods keep their radius, and images that are not drawn have none.
    """
    need(min(len(generated), len(real)), nearest_k + 1, f"precision and recall with {nearest_k} neighbours")
    real_radii, generated_radii = (
        one.keep(f"radii {nearest_k}", partial(nearest_distances, one.features, one.features, nearest_k + 1))
        for one in (real, generated)
    )
    real_weights, generated_weights = real.weights, generated.weights
    # Whole numbers up to 2^24, which float32 counts exactly.
    counted, drawn = real_weights.float(), (generated_weights > 0).float().T
    around_generated = counted.new_zeros(len(generated_weights), len(generated))
    covered, recalled = (real_weights.new_zeros(len(real_weights)) for _ in range(2))
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = torch.cdist(real.features[rows], generated.features)
        inside_real, inside_generated = map(_factor, (distances < real_radii[rows, None], distances < generated_radii))
        around_generated += (inside_real.T @ counted[:, rows].T).T
        weights = real_weights[:, rows].T
        covered += (weights * (inside_real @ drawn > 0)).sum(dim=0)
        recalled += (weights * (inside_generated @ drawn > 0)).sum(dim=0)
    return {
        "precision": (generated_weights * (around_generated > 0)).sum(dim=1) / len(generated),
        "recall": recalled / len(real),
        "density": (generated_weights * around_generated).sum(dim=1) / len(generated) / nearest_k,
        "coverage": covered / len(real),
    }


def _factor(inside: Tensor) -> Tensor:
    """0 and 1 in float32 for products. On a CPU sparse, since few pairs are near; finding them would wait for a GPU."""
    return inside.float() if inside.is_cuda else inside.to_sparse().float()


def nearest_distances(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """The distance (N,) from each query (N, D) to its k-th nearest point (M, D); a point equal to the query counts."""
    nearest = (torch.cdist(block, points).topk(k, dim=1, largest=False) for block in queries.split(BLOCK))
    return torch.cat([one.values[:, -1] for one in nearest])


METRIC = Metric(
    {
        "precision": Number("Precision", "higher", LIKENESS),
        "recall": Number("Recall", "higher", LIKENESS),
        "density": Number("Density", "higher", LIKENESS, highest=inf),
        "coverage": Number("Coverage", "higher", LIKENESS),
    },
    lambda generated, real, context: neighbour_scores(generated, real, nearest_k=context.settings.nearest_k),
    source="Kynkäänniemi et al. 2019; Naeem et al. 2020; equal to the package `prdc`",
    place=40,
)
