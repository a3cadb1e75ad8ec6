"""Bootstrap resamples of images, and the 95 % intervals that they give."""

from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def resamples(labels: "Tensor", count: int, seed: int) -> "Tensor":
    """How often each of ``count`` resamples has each image: float64 (count, N), whole numbers, every row with sum N.

    Drawn with replacement (Efron 1979) within each class of ``labels`` (N,): how many images a class has is not left to
    chance. The same labels and seed give the same draws, so that two generators can be compared draw by draw.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    counts = torch.zeros(count, len(labels), dtype=torch.float64)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0].cpu()
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
    """The value and its interval from a metric's rows (1 + R,); the interval ends at the metric's own bounds.

    The 2.5 % and 97.5 % quantiles of the resamples, moved so that their mean lies on the value. A resample repeats images,
    which raises every Frechet distance and lowers coverage: without the move, the interval could leave out its own value.
    Without resamples both ends are NaN.
    """
    import numpy as np

    value, resampled = float(rows[0]), rows[1:].cpu().numpy()
    if not len(resampled):
        return Estimate(value, nan, nan)
    low, high = np.quantile(resampled, (0.025, 0.975)) - resampled.mean() + value
    # Where all resamples agree, rounding may leave the value just outside.
    return Estimate(value, float(min(max(low, lowest), value)), float(max(min(high, highest), value)))
