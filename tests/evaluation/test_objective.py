import pytest
import torch

from src.evaluation.judge import COPIES_ALLOWED, objective
from src.evaluation.metrics.quick.frechet import frechet_distance, frechet_distances
from src.evaluation.scored import Scored
from tests.evaluation.features import scored, value
from tests.evaluation.metrics.test_frechet import joined, mean_norm
from tests.training.digits import real_images

VALUES = {"frechet_joint_distance": 7.0, "frechet_classifier_distance": 3.0}


def fine(copied_share: float, real: Scored, *, conditional: bool = True) -> float:
    distance = VALUES["frechet_joint_distance" if conditional else "frechet_classifier_distance"]
    return objective({**VALUES, "copied_share": copied_share}, real, conditional=conditional) - distance


def spread(real: Scored) -> float:
    """The fine is so many times what is above the 5 % that are allowed."""
    return fine(1.0, real) / (1 - COPIES_ALLOWED)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.049, 0.05])
def test_there_is_no_fine_for_as_many_copies_as_are_allowed(share: float) -> None:
    real = scored()
    assert objective({**VALUES, "copied_share": share}, real, conditional=True) == 7
    assert objective({**VALUES, "copied_share": share}, real, conditional=False) == 3


def test_the_fine_is_linear_above() -> None:
    real = scored()
    step = fine(0.06, real)
    assert step > 0.1
    for share, times in ((0.07, 2), (0.15, 10), (1.0, 95)):
        assert fine(share, real) == pytest.approx(times * step, rel=1e-9)
        assert fine(share, real, conditional=False) == pytest.approx(times * step, rel=1e-9)


def test_without_labels_the_joint_distance_is_not_asked_for() -> None:
    assert objective({"frechet_classifier_distance": 3.0, "copied_share": 0.0}, scored(), conditional=False) == 3


@pytest.mark.parametrize("count", [40, 300])
def test_the_spread_is_the_joint_distance_of_the_mean_image_and_label(count: int) -> None:
    real = scored(count, seed=1)
    both = joined(real, mean_norm(real))
    assert spread(real) == pytest.approx(float(both.T.cov().trace()), rel=1e-10)
    point = both.mean(dim=0).expand(count, -1)
    assert spread(real) == pytest.approx(frechet_distance(point, both), rel=1e-6)


def test_the_mean_image_asked_for_with_the_real_labels_is_nearer_by_the_part_of_the_label() -> None:
    real = scored(seed=1)
    mean = real.features.mean(dim=0).expand(300, -1)
    found = frechet_distances(Scored(mean, real.logits, real.labels), real)["frechet_joint_distance"]
    assert value(found) == pytest.approx(float(real.features.double().var(dim=0).sum()), rel=1e-6)
    labels = mean_norm(real) ** 2 * (1 - 1 / 4) * 300 / 299
    assert value(found) + labels == pytest.approx(spread(real), rel=1e-6)


@pytest.mark.parametrize("split", ["validation", "drawn"])
def test_copying_everything_is_no_better_than_a_single_mean_image(split: str) -> None:
    real = real_images().scored("validation") if split == "validation" else scored(seed=1)
    mean = Scored(real.features.mean(dim=0).expand(len(real), -1), real.logits, real.labels)
    found = frechet_distances(mean, real)
    for name, conditional in (("frechet_joint_distance", True), ("frechet_classifier_distance", False)):
        copied = {"frechet_joint_distance": 0.0, "frechet_classifier_distance": 0.0, "copied_share": 1.0}
        assert objective(copied, real, conditional=conditional) >= value(found[name])


def test_the_spread_is_found_once() -> None:
    real = scored()
    expected = fine(1.0, real)
    real.features.zero_()
    assert fine(1.0, real) == expected
    assert fine(1.0, Scored(torch.zeros(300, 6), real.logits, real.labels)) == 0
