"""Memorisation: are generated images closer to the training images than held-out real images are?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.lazy import lazy
from ...metric import OTHER, Metric, Number, PValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ...scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")

CLOSEST = 0.01
BLOCK = 100
"""Rows of a distance matrix held at once: 20 MB in float32 for 50,000 training images, which fit in a CPU's cache."""


def memorisation(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """Distances to the nearest training image, of generated images against those of real held-out ones; lower is better.

    ``memorisation`` is the probability that a generated image is closer to its nearest training image than a real one to
    its own: 0.5 for real images, 1 if all are copies (the statistic of Meehan et al. 2020, of Mann and Whitney 1947).
    ``copied_share`` is the share of generated images that are closer than all but the closest 1 % of the real ones: 0.01
    for real images, 1 if all are copies. Images that are merely typical affect the first number more than the second.
    """
    ours, (theirs, order) = _distances(generated), _distances(real).sort()
    # How many are among the 0, 1, ... closest real ones. Whole numbers, exact in any order; divided at the end, so that 1 %
    # is exact.
    closest = F.pad(real.weights[:, order].cumsum(dim=1), (1, 0))
    closer, up_to = (closest[:, torch.searchsorted(theirs, ours, right=ties)] for ties in (False, True))
    farther = len(theirs) - (closer + up_to) / 2  # ties count half
    return {
        "memorisation": (generated.weights * farther).sum(dim=1) / (len(ours) * len(theirs)),
        "copied_share": (generated.weights * (up_to / len(theirs) <= CLOSEST)).sum(dim=1) / len(ours),
    }


def memorisation_p_value(generated: Scored, real: Scored) -> float:
    """The p-value of the distances under the hypothesis of no memorisation (one-sided Mann-Whitney U test, by SciPy)."""
    from scipy.stats import mannwhitneyu

    distances = (_distances(one).cpu().numpy() for one in (generated, real))
    return float(mannwhitneyu(*distances, alternative="less").pvalue)


def nearest_training(features: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) from each image's features (N, D) to the nearest of the training images' (M, D), and that one's index."""
    lengths = train.square().sum(dim=1)
    # The nearest has the least |t|^2 - 2 x.t; its distance alone is needed.
    blocks = (torch.addmm(lengths, block, train.T, alpha=-2) for block in features.split(BLOCK))
    places = torch.cat([block.argmin(dim=1) for block in blocks])
    return (features - train[places]).norm(dim=1), places


def _distances(scored: Scored) -> Tensor:
    if scored.train_distances is None:
        raise ValueError("memorisation needs the distances to the training images")
    return scored.train_distances


METRIC = Metric(
    {
        "memorisation": Number("Memorisation", "lower", OTHER, beyond_real="no gain"),
        "copied_share": Number("Copied share", "lower", OTHER, beyond_real="no gain"),
    },
    lambda generated, real, _: memorisation(generated, real),
    source="Meehan et al. 2020; Mann and Whitney 1947",
    place=10,
    p_values={
        "memorisation": PValue(
            "generated images are no nearer to the training images than real ones (Mann-Whitney, one-sided)",
            memorisation_p_value,
        )
    },
)
