"""Class balance: are the class frequencies those of the data?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy
from ..metric import OTHER, Metric, Number, PValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ..scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")


def class_balance(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """Pearson's chi-square between the predicted classes of generated and real images, per image; lower is better.

    From 0 (the same shares) to 1 (no class in common): the statistic of homogeneity of the 2 x K table of counts divided by
    the number of images, which is Cramer's V squared. It uses no requested label, so it suits unconditional generators.
    Also returns the shares of the generated images, ``class_share_by_class`` (1 + R, K).
    """
    table = _seen_counts(generated, real)
    totals = table.sum(dim=(1, 2))
    expected = table.sum(dim=2, keepdim=True) * table.sum(dim=1, keepdim=True) / totals[:, None, None]
    chi_square = ((table - expected).square() / expected).nan_to_num(0.0).sum(dim=(1, 2))
    shares = table[:, 0] / table[:, 0].sum(dim=1, keepdim=True)
    return {"class_imbalance": chi_square / totals, "class_share_by_class": shares}


def class_balance_p_value(generated: Scored, real: Scored) -> float:
    """The p-value of the class shares under the hypothesis that they are equal (chi-square test of homogeneity, by SciPy)."""
    from scipy.stats import chi2_contingency

    table = _seen_counts(generated, real)[0]
    table = table[:, table.sum(dim=0) > 0]
    return float(chi2_contingency(table.cpu().numpy(), correction=False).pvalue)


def _seen_counts(generated: Scored, real: Scored) -> Tensor:
    """Counts float64 (1 + R, 2, K) of the predicted classes: of generated images, then of real ones."""
    counts = (one.weights @ F.one_hot(one.seen, one.class_count).double() for one in (generated, real))
    return torch.stack(tuple(counts), dim=1)


METRIC = Metric(
    {
        "class_imbalance": Number("Class imbalance", "lower", OTHER, beyond_real="no gain"),
        "class_share_by_class": Number("Share", None, OTHER),
    },
    lambda generated, real, _: class_balance(generated, real),
    source="Pearson 1900",
    place=20,
    p_values={
        "class_imbalance": PValue(
            "the classes seen have the same shares as in real images (chi-square)", class_balance_p_value
        )
    },
)
