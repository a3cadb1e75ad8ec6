"""Bootstrap resamples of images, and 95 % intervals from them."""

from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def resamples(labels: "Tensor", count: int, seed: int) -> "Tensor":
    """The count of each image in each of ``count`` resamples, on the CPU: float64 (count, N), whole numbers that sum to N.

    Drawn with replacement (Efron 1979) and stratified by ``labels`` (N,), so that class sizes are fixed. The same labels and
    seed give the same draws, which makes comparisons of two generators paired.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    counts = torch.zeros(count, len(labels), dtype=torch.float64)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        drawn = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=count)
        counts[:, members] = torch.from_numpy(drawn).double()
    return counts


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def estimate(rows: "Tensor", lowest: float = -inf, highest: float = inf) -> Estimate:
    """The value and its interval from a metric's rows (1 + R,); the interval is clipped to the metric's range.

    The 2.5 % and 97.5 % quantiles of the resamples, shifted so that their mean equals the value. A resample repeats images,
    which raises every Frechet distance and lowers coverage: without the shift, the interval might exclude its own value.
    Without resamples both ends are NaN.
    """
    import numpy as np

    value, resampled = float(rows[0]), rows[1:].numpy()
    if not len(resampled):
        return Estimate(value, nan, nan)
    low, high = np.quantile(resampled, (0.025, 0.975)) - resampled.mean() + value
    # If all resamples agree, rounding may leave the value just outside.
    return Estimate(value, float(min(max(low, lowest), value)), float(max(min(high, highest), value)))
