"""What each number of the scorecard is called, which way is better, and where it can lie."""

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True)
class About:
    """A number of the scorecard. docs/scorecard.md tells formula, cost and source."""

    title: str
    better: Literal["higher", "lower"] | None
    lowest: float = 0
    highest: float = 1
    labelled: bool = False
    """is about the label asked for; left out for a generator that takes none"""


CATALOGUE = {
    "gan_test_accuracy": About("GAN-test accuracy (label agreement)", "higher", labelled=True),
    "gan_test_precision": About("GAN-test precision", "higher", labelled=True),
    "gan_test_recall": About("GAN-test recall", "higher", labelled=True),
    "gan_test_f1": About("GAN-test F1", "higher", labelled=True),
    "gan_train_accuracy": About("GAN-train accuracy (CAS)", "higher", labelled=True),
    "gan_train_precision": About("GAN-train precision", "higher", labelled=True),
    "gan_train_recall": About("GAN-train recall", "higher", labelled=True),
    "gan_train_f1": About("GAN-train F1", "higher", labelled=True),
    "frechet_classifier_distance": About("Frechet classifier distance", "lower", highest=inf),
    "frechet_joint_distance": About("Frechet joint distance", "lower", highest=inf, labelled=True),
    "kernel_classifier_distance": About("Kernel classifier distance", "lower", lowest=-inf, highest=inf),
    "classifier_score": About("Classifier score", "higher", lowest=1, highest=inf),
    "precision": About("Precision", "higher"),
    "recall": About("Recall", "higher"),
    "density": About("Density", "higher", highest=inf),
    "coverage": About("Coverage", "higher"),
    "memorisation": About("Memorisation", "lower"),
    "copied_share": About("Copied share", "lower"),
    "class_imbalance": About("Class imbalance", "lower"),
    "reconstruction_mse": About("Reconstruction MSE", "lower", highest=inf),
    "reconstruction_r2": About("Reconstruction R2", "higher", lowest=-inf),
    "frechet_inception_distance": About("FID", "lower", highest=inf),
    "kernel_inception_distance": About("KID", "lower", lowest=-inf, highest=inf),
    "inception_score": About("Inception Score", "higher", lowest=1, highest=inf),
}
BY_CLASS = "_by_class"
"""ends the name of a number that there is for each class"""
CLASSES_ALONE = {
    "frechet_classifier_distance_by_class": About("Frechet classifier distance", "lower", highest=inf, labelled=True),
    "class_share_by_class": About("Share", None),
}
"""numbers by class that differ from those over all classes in more than that"""


def about(name: str) -> About:
    """The entry of a number; one by class that has none of its own has that of the number over all classes."""
    return CLASSES_ALONE.get(name) or CATALOGUE[name.removesuffix(BY_CLASS)]
