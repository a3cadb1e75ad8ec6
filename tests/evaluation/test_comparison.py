from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.evaluation.bootstrap import Estimate, estimate
from src.evaluation.comparison import Difference, StoredScorecard, compare
from src.evaluation.scorecard import Scorecard

NUMBERS = {
    "gan_test_accuracy": 0.9,
    "frechet_joint_distance": 12.0,
    "precision": 0.7,
    "coverage": 0.8,
    "kernel_classifier_distance": 0.02,
}
COMMON, OWN = 0.02, 0.002
"""relative deviations: of the noise that all scorecards share (the draws), and of that of one generator alone"""


def evaluation(
    name: str = "gan", changes: Mapping[str, float] | None = None, resamples: int = 1000, seed: int = 0, **card: Any
) -> StoredScorecard:
    """A scorecard as evaluate makes it: NUMBERS with ``changes``, shared noise, and noise of its own by ``seed``."""
    values = {**NUMBERS, **(changes or {})}
    shared, own = np.random.default_rng(0), np.random.default_rng([seed, 1])
    rows = {}
    for number, value in values.items():
        noise = COMMON * shared.standard_normal(resamples) + OWN * own.standard_normal(resamples)
        rows[number] = torch.from_numpy(value * (1 + noise))
    first = {number: torch.tensor([value], dtype=torch.float64) for number, value in values.items()}
    made = Scorecard(
        generated={number: estimate(torch.cat([first[number], rows[number]])) for number in values},
        real={number: Estimate(0.95, 0.94, 0.96) for number in values},
        samples=10_000,
        classifier_accuracy=0.9,
        nearest_k=5,
        resamples=resamples,
        seeds={"latents": 1, "bootstrap": 2, "floor": 3},
        classifier_hash="c" * 64,
        data_hash="d" * 64,
        generator_hash=f"{seed:04x}" * 16,
    )
    return StoredScorecard(name, made.model_copy(update=card), rows)


def row(first: StoredScorecard, second: StoredScorecard, name: str) -> Difference:
    return next(one for one in compare(first, second).rows if one.name == name)


def test_shared_noise_leaves_the_difference() -> None:
    first, second = evaluation(), evaluation(changes={"frechet_joint_distance": 11.9}, seed=1)
    found = row(first, second, "frechet_joint_distance")
    assert (found.first.value, found.second.value) == (12.0, 11.9)
    assert found.difference.value == pytest.approx(-0.1)
    # By hand: the deviations of each, of 12 x 0.02, are shared and fall out; 12 x 0.002 x sqrt(2) is left.
    deviation = 12 * OWN * 2**0.5
    assert found.difference.low == pytest.approx(-0.1 - 1.96 * deviation, abs=0.01)
    assert found.difference.high == pytest.approx(-0.1 + 1.96 * deviation, abs=0.01)
    unpaired = np.hypot(found.first.high - found.first.low, found.second.high - found.second.low)
    assert found.difference.high - found.difference.low < unpaired / 5
    # Each alone, the intervals overlap almost wholly; as pairs, the difference is plain.
    assert found.second.high > found.first.low
    assert found.verdict == "better"


def test_the_interval_is_moved_onto_the_difference() -> None:
    """Resamples raise every Frechet distance; where they raise one more than the other, the interval is still right."""
    first, second = evaluation(), evaluation(seed=1)
    biased = replace(second, rows={name: rows + 5 for name, rows in second.rows.items()})
    plain, moved = (row(first, one, "frechet_joint_distance").difference for one in (second, biased))
    assert (moved.low, moved.high) == pytest.approx((plain.low, plain.high))
    assert plain.low < 0 < plain.high


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("gan_test_accuracy", 0.95, "better"),
        ("gan_test_accuracy", 0.85, "worse"),
        ("frechet_joint_distance", 13.0, "worse"),
        ("frechet_joint_distance", 11.0, "better"),
        ("precision", 0.7001, "within noise"),
    ],
)
def test_verdicts(name: str, value: float, verdict: str) -> None:
    first, second = evaluation(), evaluation(changes={name: value}, seed=1)
    assert row(first, second, name).verdict == verdict
    opposite = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    assert row(second, first, name).verdict == opposite


@pytest.mark.parametrize(
    ("name", "values", "verdict"),
    [
        ("gan_test_accuracy", (1.2, 1.2), "within noise"),
        ("gan_test_accuracy", (1.2, 1.3), "beyond real"),
        ("gan_test_accuracy", (0.9, 1.2), "better"),
        ("copied_share", (0.5, 0.4), "beyond real"),
        ("copied_share", (1.5, 0.4), "better"),
        ("reconstruction_mse", (0.5, 0.4), "better"),
        ("gan_train_accuracy", (1.2, 1.3), "better"),
    ],
)
def test_nobody_wins_beyond_real_images(name: str, values: tuple[float, float], verdict: str) -> None:
    """Real images have 0.95 here; more of a number is progress there only where the catalogue says so."""
    first, second = (evaluation(changes={name: value}, seed=seed) for seed, value in enumerate(values))
    assert row(first, second, name).verdict == verdict


def test_the_same_generator() -> None:
    found = compare(evaluation("one"), evaluation("two"))
    assert {one.verdict for one in found.rows} == {"same"}
    assert {(one.difference.value, one.difference.low, one.difference.high) for one in found.rows} == {(0, 0, 0)}


def test_noise_is_called_noise_nineteen_times_in_twenty() -> None:
    """Two equally good generators: their values differ by their own noise, as their resamples do."""
    first, beyond = evaluation(), 0
    for seed in range(1, 201):
        error = float(np.random.default_rng([seed, 7]).standard_normal()) * 0.7 * OWN * 2**0.5
        beyond += row(first, evaluation(changes={"precision": 0.7 + error}, seed=seed), "precision").verdict != (
            "within noise"
        )
    assert 3 <= beyond <= 19  # 10 of 200, with three deviations of 3.1 either way


def test_order_titles_and_what_one_lacks() -> None:
    first = evaluation(changes={"gan_train_accuracy": 0.8})
    second = evaluation(changes={"recall": 0.5}, seed=1)
    found = compare(first, second)
    assert [one.name for one in found.rows] == [
        "gan_test_accuracy",
        "frechet_joint_distance",
        "kernel_classifier_distance",
        "precision",
        "coverage",
    ]
    assert found.rows[1].title == "Frechet joint distance"
    assert (found.only_first, found.only_second) == (("gan_train_accuracy",), ("recall",))
    assert found.cautions == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classifier_hash": "e" * 64},
            r"classifier_hash c{12} and e{12} \(scores of different classifiers are not comparable\)",
        ),
        ({"data_hash": "e" * 64}, r"data_hash d{12} and e{12} \(scores on different images"),
        ({"samples": 5000}, r"samples 10000 and 5000 \(Frechet distances shrink with more samples\)"),
        ({"nearest_k": 3}, r"nearest_k 5 and 3 \(precision, recall, density and coverage depend on it\)"),
        (
            {"seeds": {"latents": 1, "bootstrap": 9}},
            r"seeds\.bootstrap 2 and 9, seeds\.floor 3 and none \(different draws",
        ),
    ],
)
def test_what_does_not_compare(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compare(evaluation("left"), evaluation("right", seed=1, **change))
    assert str(caught.value).startswith("left and right are not comparable: ")
    assert "`dvc repro evaluate`" in str(caught.value)


def test_all_reasons_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"samples 10000 and 50 .*; nearest_k 5 and 9 .*; resamples 1000 and 200 .*"):
        compare(evaluation(), evaluation(resamples=200, samples=50, nearest_k=9))


@pytest.mark.parametrize("count", [0, 1])
def test_without_resamples_nothing_is_said(count: int) -> None:
    with pytest.raises(UserError, match=f"have {count} resamples, too few for an interval of a difference"):
        compare(evaluation(resamples=count), evaluation(resamples=count, seed=1))


def test_nothing_in_common() -> None:
    first, second = evaluation(), evaluation(seed=1)
    with pytest.raises(UserError, match="have no number in common"):
        compare(first, replace(second, rows={"something": torch.zeros(200)}))


def test_cautions() -> None:
    real = {**evaluation().card.real, "precision": Estimate(0.955, 0.945, 0.965)}
    found = compare(evaluation(resamples=50), evaluation(resamples=50, seed=1, real=real))
    assert found.cautions[0].startswith("With only 50 resamples the intervals are rough")
    assert found.cautions[1].endswith("so they were scored with other code or settings: Precision.")
