"""GAN-train: can a classifier learn the classes from generated images alone?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy
from ..metric import LABELS, Context, Fit, Metric, Number, need
from .quick.gan_test import answers, confusions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..scored import Scored
else:
    torch = lazy("torch")

HELD_OUT_EVERY = 10


def gan_train(generated: Scored, real: Scored, *, fit: Fit) -> dict[str, Tensor]:
    """Accuracy of a new classifier that is trained on generated images and tested on real ones; 0 to 1, higher is better.

    GAN-train (Shmelkov et al. 2018), also called Classification Accuracy Score (Ravuri and Vinyals 2019), with precision,
    recall and F1, macro-averaged and for each class. ``fit(train, held_out)`` trains on nine tenths of the generated images
    and selects its epoch on the last tenth: the real images are used once, at the end. Poor or wrongly labelled images and
    missing variety lower it. The interval reflects the drawn real images, not the randomness of training.
    """
    from ...data.prepared import Split
    from ..scored import score_images

    if generated.images is None or real.images is None:
        raise ValueError("GAN-train needs the images themselves")
    images, labels = generated.images, generated.labels.cpu()
    rarest = int(torch.bincount(labels, minlength=generated.class_count).min())
    need(rarest, 2, "GAN-train accuracy, of each class")
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(generated.class_count):
        held_out[(labels == label).nonzero()[::HELD_OUT_EVERY, 0]] = True
    parts = (Split(images[part], labels[part]) for part in (~held_out, held_out))
    seen = score_images(fit(*parts), real.images, real.labels).seen.to(real.labels.device)
    return answers(confusions(real.labels, seen, real.class_count, real.weights), "gan_train")


def _compute(generated: Scored, real: Scored, context: Context) -> dict[str, Tensor]:
    assert context.fit is not None
    return gan_train(generated, real, fit=context.fit)


METRIC = Metric(
    {
        "gan_train_accuracy": Number("GAN-train accuracy (CAS)", "higher", LABELS, labelled=True, beyond_real="gain"),
        "gan_train_precision": Number("GAN-train precision", "higher", LABELS, labelled=True, beyond_real="gain"),
        "gan_train_recall": Number("GAN-train recall", "higher", LABELS, labelled=True, beyond_real="gain"),
        "gan_train_f1": Number("GAN-train F1", "higher", LABELS, labelled=True, beyond_real="gain"),
    },
    _compute,
    source='Shmelkov et al. 2018; Ravuri and Vinyals 2019, "Classification Accuracy Score"',
    place=20,
    when=lambda context: context.settings.gan_train and context.conditional and context.fit is not None,
)
