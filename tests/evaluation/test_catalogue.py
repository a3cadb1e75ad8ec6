import math

import pytest
import torch

from src.evaluation import catalogue
from src.evaluation.bootstrap import estimate
from src.evaluation.catalogue import BY_CLASS, CATALOGUE
from src.evaluation.scorecard import all_metrics, scorecard
from src.evaluation.scored import Scored
from tests.evaluation.features import certain, resampled, scored


def sets(kind: str) -> tuple[Scored, Scored]:
    """Generated and real images, ordinary or at an end of what there can be."""
    real = scored(seed=1)
    if kind == "ordinary":
        return scored(200, seed=2, shift=0.5), real
    if kind == "the same":
        return real, real
    if kind == "far away":
        return scored(seed=2, shift=100.0).beside(torch.full((300,), 99.0)), real
    if kind == "copies of one image":
        first = torch.zeros(300, dtype=torch.int64)
        return Scored(real.features[first], real.logits[first], real.labels, torch.zeros(300)), real
    sure = certain(real.labels, real.labels, 4)
    return Scored(scored(seed=2).features, sure.logits, sure.labels, torch.zeros(300)), real


KINDS = ("ordinary", "the same", "far away", "copies of one image", "always right")


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_in_the_catalogue_and_within_its_bounds(kind: str) -> None:
    generated, real = sets(kind)
    found = scorecard(all_metrics(5), resampled(generated, 5, seed=1), resampled(real, 5, seed=2))
    for name, rows in found.items():
        about = catalogue.about(name)
        assert rows.shape == ((6, 4) if name.endswith(BY_CLASS) else (6,)), name
        assert rows.isfinite().all(), name
        assert float(rows.min()) >= about.lowest - 1e-12, name
        assert float(rows.max()) <= about.highest + 1e-12, name
        if rows.ndim == 1:
            interval = estimate(rows, about.lowest, about.highest)
            assert about.lowest <= interval.low <= interval.value + 1e-12, name
            assert interval.value - 1e-12 <= interval.high <= about.highest, name


def test_bounds_are_reached() -> None:
    ends = {name: set[float]() for name in CATALOGUE}
    for kind in KINDS:
        for name, rows in scorecard(all_metrics(5), *sets(kind)).items():
            if name in ends:
                ends[name].add(round(float(rows[0]), 6))
    for name in ("precision", "recall", "coverage"):
        assert {0, 1} <= ends[name]
    assert 1 in ends["memorisation"] & ends["copied_share"] & ends["gan_test_accuracy"] & ends["gan_test_f1"]
    assert 0 in ends["frechet_classifier_distance"] & ends["density"] & ends["memorisation"] & ends["class_imbalance"]


def test_what_needs_no_other_network_or_training_is_all_there() -> None:
    found = scorecard(all_metrics(5), *sets("ordinary"))
    elsewhere = ("gan_train", "reconstruction", "frechet_inception", "kernel_inception", "inception")
    assert {name for name in found if not name.endswith(BY_CLASS)} == {
        name for name in CATALOGUE if not name.startswith(elsewhere)
    }


def test_titles_are_names_of_their_own_and_bounds_leave_room() -> None:
    titles = [about.title for about in CATALOGUE.values()]
    assert len(set(titles)) == len(titles) == 24
    for name, about in CATALOGUE.items():
        assert about.lowest < about.highest, name
        # A distance or an error is better lower, and has no upper end.
        assert ("distance" in name or "mse" in name) == (about.better == "lower" and math.isinf(about.highest)), name
        assert not name.endswith(BY_CLASS)
