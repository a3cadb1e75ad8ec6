"""GAN-train: can one learn the classes from generated images alone?"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...data.prepared import Split
from ...networks.interface import Classifier
from ..scored import Scored, score_images
from ..validity import need
from .gan_test import answers, confusions

HELD_OUT_EVERY = 10


def gan_train(generated: Scored, real: Scored, *, fit: Callable[[Split, Split], Classifier]) -> dict[str, Tensor]:
    """Accuracy of a fresh classifier, trained on generated images and tested on real ones; 0 to 1, higher is better.

    GAN-train (Shmelkov et al. 2018), also called Classification Accuracy Score (Ravuri and Vinyals 2019), with precision,
    recall and F1, the mean over the classes and for each class. ``fit(train, held_out)`` trains on nine tenths of the
    generated images and chooses among its epochs by the last tenth: the real images are used once, at the end. Poor or
    wrongly labelled images lower it, and missing variety does. The interval speaks of the real images that were drawn, not of
    another training.
    """
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
