"""GAN-test: does the judge predict the requested class of a generated image?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.lazy import lazy
from ...metric import LABELS, Metric, Number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...scored import Scored
else:
    torch = lazy("torch")


def gan_test(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """Label agreement (GAN-test accuracy, Shmelkov et al. 2018) from 0 to 1, higher is better; ``real`` is unused.

    Also precision, recall and F1 of the predictions, macro-averaged and for each requested class. Compare them with those of
    real images: a higher value means typical images, not better ones.
    """
    return answers(confusions(generated.labels, generated.seen, generated.class_count, generated.weights), "gan_test")


def confusions(labels: Tensor, seen: Tensor, classes: int, weights: Tensor) -> Tensor:
    """Weighted counts float64 (R, K, K) of images: row the requested class, column the predicted one."""
    cells = weights.new_zeros(len(weights), classes**2).index_add_(1, labels * classes + seen, weights)
    return cells.reshape(len(weights), classes, classes)


def answers(counts: Tensor, prefix: str) -> dict[str, Tensor]:
    """Accuracy, precision, recall and F1 from confusion matrices (R, K, K), as scikit-learn's with ``zero_division=0``.

    ``PREFIX_accuracy`` and the means over the classes are (R,); ``PREFIX_precision_by_class`` and so on are (R, K).
    """
    right = counts.diagonal(dim1=1, dim2=2)
    asked, seen = counts.sum(dim=2), counts.sum(dim=1)
    by_class = {"precision": right / seen, "recall": right / asked, "f1": 2 * right / (asked + seen)}
    result = {f"{prefix}_accuracy": right.sum(dim=1) / counts.sum(dim=(1, 2))}
    for name, shares in by_class.items():
        values = shares.nan_to_num(0.0)  # 0 of 0
        result |= {f"{prefix}_{name}": values.mean(dim=1), f"{prefix}_{name}_by_class": values}
    return result


def confusion(scored: Scored) -> Tensor:
    """Counts int64 (K, K): row the requested class, column the predicted one."""
    ones = scored.weights[:1]
    return confusions(scored.labels, scored.seen, scored.class_count, ones)[0].to(torch.int64)


METRIC = Metric(
    {
        "gan_test_accuracy": Number("GAN-test accuracy (label agreement)", "higher", LABELS, labelled=True),
        "gan_test_precision": Number("GAN-test precision", "higher", LABELS, labelled=True),
        "gan_test_recall": Number("GAN-test recall", "higher", LABELS, labelled=True),
        "gan_test_f1": Number("GAN-test F1", "higher", LABELS, labelled=True),
    },
    lambda generated, real, _: gan_test(generated, real),
    source='Shmelkov et al. 2018, "How good is my GAN?"',
    place=10,
)
