from collections import defaultdict
from math import inf, isnan

import numpy as np
import pytest
import torch
from torch import Tensor

from src.evaluation.bootstrap import estimate, resamples
from src.evaluation.metrics.quick.memorisation import nearest_training
from src.evaluation.scored import Scored
from tests.evaluation.features import every_row

LABELS = torch.tensor([0] * 7 + [1] * 20 + [4] + [2] * 30)[
    torch.randperm(58, generator=torch.Generator().manual_seed(0))
]


def test_every_row_has_as_many_images_as_there_are_of_each_class() -> None:
    counts = resamples(LABELS, 50, seed=3)
    assert (counts.shape, counts.dtype) == ((50, 58), torch.float64)
    assert torch.equal(counts, counts.round())
    assert (counts >= 0).all()
    assert (counts.sum(dim=1) == 58).all()
    for label, count in ((0, 7), (1, 20), (4, 1), (2, 30)):
        assert (counts[:, label == LABELS].sum(dim=1) == count).all()


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    counts = resamples(LABELS, 5, seed=3)
    assert torch.equal(resamples(LABELS, 5, seed=3), counts)
    assert not torch.equal(resamples(LABELS, 5, seed=4), counts)
    assert counts.unique(dim=0).shape[0] == 5


def test_draws_are_those_of_a_multinomial_distribution() -> None:
    counts = resamples(torch.zeros(40, dtype=torch.int64), 4000, seed=0)
    # Each image is there n times with the probability of a binomial distribution of 40 trials at 1/40.
    assert counts.mean(dim=0).numpy() == pytest.approx(np.ones(40), abs=5 / 4000**0.5)
    assert float(counts.var()) == pytest.approx(1 - 1 / 40, rel=0.03)
    assert float((counts == 0).double().mean()) == pytest.approx((1 - 1 / 40) ** 40, abs=0.005)
    assert float(torch.cov(counts[:, :2].T)[0, 1]) == pytest.approx(-1 / 40, abs=0.05)


def test_an_estimate_is_that_of_a_hand() -> None:
    # 0 to 100: the quantiles are 2.5 and 97.5, the mean is 50; the value lies 8 higher.
    found = estimate(torch.cat([torch.tensor([58.0]), torch.arange(101.0)]))
    assert [found.value, found.low, found.high] == pytest.approx([58, 10.5, 105.5])
    # Half of the way between 0 and 4 is 2, of the quantiles 0.1 and 3.9.
    found = estimate(torch.tensor([1.0, 0, 4]))
    assert [found.value, found.low, found.high] == pytest.approx([1, -0.9, 2.9])


def test_an_interval_ends_at_the_bounds_of_its_number() -> None:
    rows = torch.tensor([0.9, 0.7, 0.8, 0.9, 1.0], dtype=torch.float64)
    free, bound = estimate(rows), estimate(rows, 0, 1)
    assert free.high > 1
    assert (bound.value, bound.low, bound.high) == (free.value, free.low, 1)
    assert estimate(rows - 0.9, lowest=0).low == 0
    assert estimate(rows, -inf, inf) == free


def test_an_interval_holds_its_value_however_far_the_resamples_are_from_it() -> None:
    rng = torch.Generator().manual_seed(0)
    for away in (0.0, 5.0, -1000.0):
        for _ in range(20):
            rows = torch.cat([torch.zeros(1), away + torch.randn(100, generator=rng).exp()])
            found = estimate(rows)
            assert found.low < 0 < found.high


def test_without_resamples_or_with_nan_there_is_no_interval() -> None:
    found = estimate(torch.tensor([0.25]))
    assert found.value == 0.25
    assert isnan(found.low)
    assert isnan(found.high)
    found = estimate(torch.tensor([torch.nan, torch.nan, torch.nan]), 0, 1)
    assert isnan(found.value)
    assert isnan(found.low)
    assert isnan(found.high)


CLASSES, SIZE, IMAGES, TRAINING, DRAWS, PAIRS = 3, 5, 240, 600, 80, 100


def ratios(shift: float, spread: float, copies: float, mistaken: float) -> dict[str, tuple[float, float]]:
    """Of each number: its interval's mean length over that of its true spread, and its mean.

    True is its standard deviation over independent pairs of image sets, of known distributions: three Gaussians, and of
    the generated images a shift, another spread, a share of copies and a share with the wrong label.
    """
    fixed, rng = torch.Generator().manual_seed(7), torch.Generator().manual_seed(0)
    centres = 1.5 * torch.randn(CLASSES, SIZE, generator=fixed)

    def draw(count: int, rng: torch.Generator, made: bool = False) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % CLASSES
        wrong = torch.rand(count, generator=rng) < mistaken * made
        noise = torch.randn(count, SIZE, generator=rng) * (spread if made else 1) + (shift / SIZE**0.5) * made
        return centres[(labels + wrong.long()) % CLASSES] + noise, labels

    train, _ = draw(TRAINING, fixed)
    values, lengths = defaultdict(list), defaultdict(list)
    for pair in range(PAIRS):
        both = []
        for made in (True, False):
            features, labels = draw(IMAGES, rng, made)
            if made:
                copied = torch.rand(IMAGES, generator=rng) < copies
                features[copied] = train[torch.randint(TRAINING, (int(copied.sum()),), generator=rng)] + 1e-3
            logits = features @ centres.T - centres.square().sum(dim=1) / 2
            one = Scored(features, logits, labels, nearest_training(features, train)[0])
            both.append(one.resampled(resamples(labels, DRAWS, seed=2 * pair + made)))
        for name, rows in every_row(*both).items():
            if rows.ndim == 1:
                found = estimate(rows)
                values[name].append(found.value)
                lengths[name].append((found.high - found.low) / 2 / 1.96)
    return {
        name: (float(np.mean(lengths[name]) / np.std(some, ddof=1)), float(np.mean(some)))
        for name, some in values.items()
    }


def test_intervals_are_as_long_as_the_numbers_spread_when_the_experiment_is_repeated() -> None:
    found = ratios(shift=2.0, spread=0.9, copies=0.1, mistaken=0.1)
    longest = {
        "gan_test_accuracy": 1.35,
        "gan_test_precision": 1.35,
        "gan_test_recall": 1.35,
        "gan_test_f1": 1.35,
        "frechet_classifier_distance": 1.35,
        "frechet_joint_distance": 1.35,
        "kernel_classifier_distance": 1.35,
        "classifier_score": 1.35,
        "memorisation": 1.35,
        "copied_share": 1.35,
        "precision": 1.5,
        "recall": 1.5,
        "density": 1.5,
        "coverage": 1.35,
    }
    ratio = {name: found[name][0] for name in longest}
    assert {name: one for name, one in ratio.items() if not 0.75 < one < longest[name]} == {}


def test_intervals_are_not_too_short_where_both_distributions_are_the_same() -> None:
    # A distance of zero is the end of its range, and so is a share of one. Its resamples lie up to twice as far apart as
    # repeats of the experiment: an interval there is longer than need be.
    wide = {"frechet_classifier_distance", "frechet_joint_distance", "kernel_classifier_distance"}
    wide |= {"precision", "recall", "coverage", "class_imbalance"}
    found = ratios(shift=0.0, spread=1.0, copies=0.0, mistaken=0.0)
    for name, (ratio, _) in found.items():
        assert 0.75 < ratio < (2.2 if name in wide else 1.35), (name, ratio)
    # As real images.
    assert found["memorisation"][1] == pytest.approx(0.5, abs=0.02)
    assert found["copied_share"][1] == pytest.approx(0.01, abs=0.006)
    assert found["density"][1] == pytest.approx(1, abs=0.05)
