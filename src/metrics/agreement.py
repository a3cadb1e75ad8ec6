"""GAN-test accuracy: how often the auxiliary classifier sees the class that was asked for."""

import torch
from torch import Tensor

from src.metrics.scored import Scored


def agreement(generated: Scored, real: Scored) -> dict[str, float]:
    """Label agreement from 0 to 1 (GAN-test accuracy, Shmelkov et al. 2018). ``real`` is not used.

    Read it beside the same number for real images, the classifier's own accuracy: a higher one means typical images, not
    better ones.
    """
    return {"agreement": float((generated.logits.argmax(dim=1) == generated.labels).double().mean())}


def per_class(scored: Scored) -> dict[str, list[float]]:
    """Precision, recall and F1 of the classifier's answer for each asked class, by torchmetrics; lists of K values in 0..1."""
    from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

    classes, predicted = scored.logits.shape[1], scored.logits.argmax(dim=1)
    functions = {"precision": multiclass_precision, "recall": multiclass_recall, "f1": multiclass_f1_score}
    return {
        name: function(predicted, scored.labels, num_classes=classes, average="none").double().tolist()
        for name, function in functions.items()
    }


def confusion(scored: Scored) -> Tensor:
    """Counts int64 (K, K): row the asked class, column the class that the classifier sees."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    classes = scored.logits.shape[1]
    return multiclass_confusion_matrix(scored.logits.argmax(dim=1), scored.labels, num_classes=classes).to(torch.int64)
