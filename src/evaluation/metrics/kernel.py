"""Kernel classifier distance: KID's estimator in the judge's features."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from ...core.lazy import lazy
from ..metric import LIKENESS, Metric, Number, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..scored import Scored
else:
    torch = lazy("torch")

BLOCK = 250
"""Rows of a kernel matrix held at once."""


def kernel_classifier_distance(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """The squared maximum mean discrepancy under the kernel (x.y / D + 1)^3; 0 for equal distributions, lower is better.

    The unbiased estimator (Binkowski et al. 2018), over all images instead of random subsets: it may be slightly negative,
    and its expectation does not depend on the number of samples. With fixed class sizes it is lower by 2 / N of the excess
    similarity of two images of one class. In a resample, an image is not compared with its own copies.
    """
    need(min(len(generated), len(real)), 2, "the kernel classifier distance")
    ours, theirs = generated.features.double(), real.features.double()
    within = [
        one.keep("kernel", partial(_mean_kernel, features, features, one.weights, one.weights, apart=True))
        for one, features in ((generated, ours), (real, theirs))
    ]
    between = _mean_kernel(ours, theirs, generated.weights, real.weights, apart=False)
    return {"kernel_classifier_distance": within[0] + within[1] - 2 * between}


def _mean_kernel(first: Tensor, second: Tensor, weights: Tensor, other_weights: Tensor, *, apart: bool) -> Tensor:
    """The weighted mean (R,) of the kernel over all pairs; ``apart`` leaves out the pairs of an image with itself."""
    total = weights.new_zeros(len(weights))
    resampled = other_weights[1:].float().T
    for start in range(0, len(first), BLOCK):
        rows, columns = slice(start, start + BLOCK), slice(start if apart else 0, None)
        product = (first[rows] @ second[columns].T).div_(first.shape[1]).add_(1)
        kernel = product.square().mul_(product)
        if apart:  # Symmetric: each pair once, counted twice below.
            kernel[:, : len(kernel)].triu_(1)
        # The value in float64; the resamples do not need it, and float32 is twice as fast.
        sums = torch.cat([kernel.sum(dim=1, keepdim=True), (kernel.float() @ resampled[columns]).double()], dim=1)
        total += (weights[:, rows].T * sums).sum(dim=0)
    pairs = weights.sum(dim=1) * other_weights.sum(dim=1)
    return 2 * total / (pairs - (weights * other_weights).sum(dim=1)) if apart else total / pairs


METRIC = Metric(
    {"kernel_classifier_distance": Number("Kernel classifier distance", "lower", LIKENESS, lowest=-inf, highest=inf)},
    lambda generated, real, _: kernel_classifier_distance(generated, real),
    source="Binkowski et al. 2018 (KID)",
    place=20,
)
