"""What each number of the scorecard is called, which way is better, and where it can lie."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from .bootstrap import Estimate

LABELS, LIKENESS, OTHER = "Labels", "Quality and variety", "Copies, balance, reconstruction"
INCEPTION = "In the Inception network"


@dataclass(frozen=True)
class About:
    """A number of the scorecard. docs/scorecard.md tells formula, cost and source."""

    title: str
    better: Literal["higher", "lower"] | None
    group: str
    """of the numbers that are read together"""
    lowest: float = 0
    highest: float = 1
    labelled: bool = False
    """is about the label asked for; left out for a generator that takes none"""
    beyond_real: Literal["suspect", "no gain", "gain"] = "suspect"
    """what it means that generated images have a better number than held-out real ones"""


CATALOGUE = {
    "gan_test_accuracy": About("GAN-test accuracy (label agreement)", "higher", LABELS, labelled=True),
    "gan_test_precision": About("GAN-test precision", "higher", LABELS, labelled=True),
    "gan_test_recall": About("GAN-test recall", "higher", LABELS, labelled=True),
    "gan_test_f1": About("GAN-test F1", "higher", LABELS, labelled=True),
    "gan_train_accuracy": About("GAN-train accuracy (CAS)", "higher", LABELS, labelled=True, beyond_real="gain"),
    "gan_train_precision": About("GAN-train precision", "higher", LABELS, labelled=True, beyond_real="gain"),
    "gan_train_recall": About("GAN-train recall", "higher", LABELS, labelled=True, beyond_real="gain"),
    "gan_train_f1": About("GAN-train F1", "higher", LABELS, labelled=True, beyond_real="gain"),
    "frechet_classifier_distance": About("Frechet classifier distance", "lower", LIKENESS, highest=inf),
    "frechet_joint_distance": About("Frechet joint distance", "lower", LIKENESS, highest=inf, labelled=True),
    "kernel_classifier_distance": About("Kernel classifier distance", "lower", LIKENESS, lowest=-inf, highest=inf),
    "classifier_score": About("Classifier score", "higher", LIKENESS, lowest=1, highest=inf),
    "precision": About("Precision", "higher", LIKENESS),
    "recall": About("Recall", "higher", LIKENESS),
    "density": About("Density", "higher", LIKENESS, highest=inf),
    "coverage": About("Coverage", "higher", LIKENESS),
    "memorisation": About("Memorisation", "lower", OTHER, beyond_real="no gain"),
    "copied_share": About("Copied share", "lower", OTHER, beyond_real="no gain"),
    "class_imbalance": About("Class imbalance", "lower", OTHER, beyond_real="no gain"),
    "reconstruction_mse": About("Reconstruction MSE", "lower", OTHER, highest=inf, beyond_real="gain"),
    "reconstruction_r2": About("Reconstruction R2", "higher", OTHER, lowest=-inf, beyond_real="gain"),
    "frechet_inception_distance": About("FID", "lower", INCEPTION, highest=inf),
    "kernel_inception_distance": About("KID", "lower", INCEPTION, lowest=-inf, highest=inf),
    "inception_score": About("Inception Score", "higher", INCEPTION, lowest=1, highest=inf),
}
QUICK_NUMBERS = (
    "gan_test_accuracy",
    "gan_test_precision",
    "gan_test_recall",
    "gan_test_f1",
    "frechet_classifier_distance",
    "frechet_joint_distance",
    "classifier_score",
    "precision",
    "recall",
    "density",
    "coverage",
    "memorisation",
    "copied_share",
)
"""what the judge of a training returns besides ``score``; those about labels only for a generator that takes them"""
BY_CLASS = "_by_class"
"""ends the name of a number that there is for each class"""
CLASSES_ALONE = {
    "frechet_classifier_distance_by_class": About(
        "Frechet classifier distance", "lower", LIKENESS, highest=inf, labelled=True
    ),
    "class_share_by_class": About("Share", None, LIKENESS),
}
"""numbers by class that differ from those over all classes in more than that"""


def about(name: str) -> About:
    """The entry of a number; one by class that has none of its own has that of the number over all classes."""
    return CLASSES_ALONE.get(name) or CATALOGUE[name.removesuffix(BY_CLASS)]


def clearly_better(name: str, one: Estimate, other: Estimate) -> bool:
    """Whether the whole 95 % interval of a number lies on the better side of that of the other."""
    better = about(name).better
    return (better == "higher" and one.low > other.high) or (better == "lower" and one.high < other.low)


def short(*numbers: float) -> tuple[str, ...]:
    """Numbers in three digits."""
    return tuple(f"{number:#.3g}".rstrip(".") for number in numbers)
