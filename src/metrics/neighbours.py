"""Precision, recall, density and coverage from k nearest neighbours in the auxiliary classifier's features."""

import torch
from torch import Tensor

from src.metrics.scored import Scored

BLOCK = 2000
"""Rows of a distance matrix held at once, so that 10,000 x 10,000 images need 80 MB in float32 and not 400."""


def neighbour_scores(generated: Scored, real: Scored, nearest_k: int = 5) -> dict[str, float]:
    """Four shares of images; precision, recall and coverage from 0 to 1, density from 0 up; higher is better.

    precision: generated images inside the neighbourhood of a real one (fidelity); recall: real images inside the
    neighbourhood of a generated one (variety) (Kynkaanniemi et al. 2019). density: how many real neighbourhoods a generated
    image is in, over k; coverage: real images with a generated one in their neighbourhood (Naeem et al. 2020).
    A neighbourhood reaches to the k-th nearest image of the same kind. Equal to the package ``prdc``.
    """
    if min(len(generated), len(real)) <= nearest_k:
        raise ValueError(
            f"{nearest_k} neighbours need more than {nearest_k} images, not {len(generated)} and {len(real)}"
        )
    real_radii = nearest_distances(real.features, real.features, nearest_k + 1)
    generated_radii = nearest_distances(generated.features, generated.features, nearest_k + 1)
    inside_real = torch.zeros(len(generated), dtype=torch.int64)
    real_in_generated = torch.zeros(len(real), dtype=torch.bool)
    real_covered = torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = torch.cdist(real.features[rows], generated.features)
        inside = distances < real_radii[rows, None]
        inside_real += inside.sum(dim=0)
        real_covered[rows] = inside.any(dim=1)
        real_in_generated[rows] = (distances < generated_radii).any(dim=1)
    return {
        "precision": float((inside_real > 0).double().mean()),
        "recall": float(real_in_generated.double().mean()),
        "density": float(inside_real.double().mean() / nearest_k),
        "coverage": float(real_covered.double().mean()),
    }


def nearest_distances(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """The distance (N,) from each query (N, D) to its k-th nearest point (M, D); a point equal to the query counts."""
    return torch.cat([torch.cdist(block, points).kthvalue(k, dim=1).values for block in queries.split(BLOCK)])
