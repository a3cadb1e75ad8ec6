import pytest

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.objectives import can_prune, check, direction, excess

TWO = ["score", "seconds_per_kimg"]
BOTH = {"model.conditioning": {"choices": ["none", "projection"]}}


def test_measures_have_a_direction() -> None:
    assert [direction(name) for name in ("score", "coverage", "seconds_per_kimg")] == [
        "minimize",
        "maximize",
        "minimize",
    ]


def test_a_constraint_is_exceeded_by_so_much() -> None:
    assert excess(0.5, 0.6, None) == pytest.approx(0.1)
    assert excess(5.0, None, 7.0) == -2.0


def test_only_one_measure_of_the_training_can_prune() -> None:
    assert can_prune(["score"])
    assert not can_prune(["seconds_per_kimg"])
    assert not can_prune(TWO)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tune.objectives": ["score", "score"]}, "has a name twice"),
        ({"tune.objectives": ["beauty"]}, "beauty is not measured in a trial"),
        ({"tune.objectives": TWO, "tune.sampler": "cmaes"}, "cmaes knows one objective only"),
        ({"tune.space": BOTH}, "score is another number where model.conditioning is none"),
        ({"model.conditioning": "none", "tune.objectives": ["gan_test_accuracy"]}, "is about labels"),
    ],
)
def test_what_no_trial_would_have_is_refused(params: Params, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check(params.replace(changes))


def test_what_makes_sense_is_allowed(params: Params) -> None:
    check(params.replace({"tune.objectives": TWO}))
    check(params.replace({"model.conditioning": "none"}))
    check(params.replace({"tune.space": BOTH, "tune.objectives": ["frechet_classifier_distance"]}))
