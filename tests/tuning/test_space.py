from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.space import (
    NOT_SEARCHED,
    can_prune,
    check,
    current_values,
    decoded,
    direction,
    draw,
    fits,
    outside,
    set_constraints,
)

TWO = ["score", "seconds_per_kimg"]
SPACE: dict[str, Any] = {
    "train.lr_generator": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.dropout": {"low": 0.0, "high": 0.4, "step": 0.1},
    "model.latent_size": {"low": 16, "high": 64, "step": 16},
    "model.width": {"low": 8, "high": 64, "log": True},
    "train.loss": {"choices": ["bce", "hinge"]},
    "train.batch_size": {"choices": [32, 64]},
}


def with_space(params: Params, space: dict[str, Any]) -> Params:
    return params.replace({"tune.space": space})


def test_values_stay_in_their_ranges_on_their_steps_and_among_their_choices(params: Params) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [draw(study.ask(), with_space(params, SPACE)) for _ in range(200)]
    columns = {name: [values[name] for values in drawn] for name in SPACE}
    rates = columns["train.lr_generator"]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / 200 < 0.6  # uniform in the logarithm
    assert {round(value, 9) for value in columns["model.dropout"]} == {0.0, 0.1, 0.2, 0.3, 0.4}
    assert set(columns["model.latent_size"]) == {16, 32, 48, 64}
    assert all(isinstance(width, int) and 8 <= width <= 64 for width in columns["model.width"])
    assert set(columns["train.loss"]) == {"bce", "hinge"}
    assert set(columns["train.batch_size"]) == {32, 64}
    for values in drawn[:20]:
        params.replace(values)


BOTH = {"model.conditioning": {"choices": ["none", "projection"]}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tune.space": {}}, "tune.space is empty"),
        *(
            (
                {"tune.space": {name: {"choices": ["cpu" if name == "train.device" else 1000]}}},
                f"{name} cannot be searched: ",
            )
            for name in NOT_SEARCHED
        ),
        ({"tune.objectives": ["score", "score"]}, "has a name twice"),
        ({"tune.objectives": ["beauty"]}, "beauty is not measured in a trial"),
        ({"tune.objectives": TWO, "tune.sampler": "cmaes"}, "cmaes supports a single objective"),
        ({"tune.space": BOTH}, "score is another measure where model.conditioning is none"),
        ({"model.conditioning": "none", "tune.objectives": ["gan_test_accuracy"]}, "needs labels"),
        ({"model.conditioning": "none", "tune.constraints": {"gan_test_accuracy": {"at_least": 1}}}, "needs labels"),
        ({"tune.objectives": TWO}, None),
        ({"model.conditioning": "none"}, None),
        ({"tune.space": BOTH, "tune.objectives": ["frechet_classifier_distance"]}, None),
    ],
)
def test_an_invalid_search_is_refused(params: Params, changes: dict[str, object], sentence: str | None) -> None:
    changed = params.replace(changes)
    if sentence is None:
        check(changed)
        return
    with pytest.raises(UserError, match=sentence):
        check(changed)


def test_measures_have_a_direction_and_only_a_single_quick_one_can_prune() -> None:
    names = ("score", "coverage", "seconds_per_kimg")
    assert [direction(name) for name in names] == ["minimize", "maximize", "minimize"]
    assert [can_prune(names) for names in (["score"], ["seconds_per_kimg"], TWO)] == [True, False, False]


def test_constraints_are_exceeded_above_zero(params: Params) -> None:
    limits = {"coverage": {"at_least": 0.6}, "score": {"at_most": 7.0}, "peak_memory_mib": {"at_most": 1.0}}
    study = optuna.create_study()
    set_constraints(study.ask(), params.replace({"tune.constraints": limits}), {"coverage": 0.5, "score": 5.0})
    assert study.trials[0].constraints == {"coverage": pytest.approx(0.1), "score": -2.0}


@pytest.mark.parametrize(
    ("name", "inside", "beyond"),
    [
        ("train.lr_generator", [1e-4, 2e-3, 1e-2], [9e-5, 0.02]),
        ("model.dropout", [0.0, 0.3, 0.1 + 0.2], [0.25, 0.5]),
        ("model.latent_size", [16, 32], [17, 65]),
        ("model.width", [8, 9], [7, 65]),
        ("train.loss", ["bce"], ["least_squares", None]),
        ("train.batch_size", [32], [33]),
    ],
)
def test_a_value_is_inside_when_a_trial_could_draw_it(
    params: Params, name: str, inside: list[Any], beyond: list[Any]
) -> None:
    space = {name: with_space(params, SPACE).tune.space[name]}
    assert [outside({name: value}, space) for value in inside] == [[]] * len(inside)
    assert [outside({name: value}, space) for value in beyond] == [[name]] * len(beyond)


def test_current_values_are_those_of_the_space(params: Params) -> None:
    assert current_values(params) == {"train.lr_generator": params.train.lr_generator, "model.latent_size": 4}


def test_the_ends_of_a_range_may_move_but_not_its_kind(params: Params) -> None:
    def entry(values: dict[str, Any]) -> Any:
        return with_space(params, {"train.r1_weight": values}).tune.space["train.r1_weight"]

    base, words = FloatDistribution(0.1, 0.4), CategoricalDistribution([0.1, 0.4])
    assert fits(base, entry({"low": 0.2, "high": 0.9}))
    assert not fits(base, entry({"low": 0.1, "high": 0.4, "log": True}))
    assert not fits(IntDistribution(0, 1), entry({"low": 0.1, "high": 0.4}))
    assert not fits(base, entry({"choices": [0.1, 0.4]}))
    assert fits(words, entry({"choices": [0.1, 0.4]}))
    assert not fits(words, entry({"choices": [0.1, 0.5]}))


CONDITIONAL: dict[str, Any] = {
    "model.family": {"choices": ["mlp", "dcgan"]},
    "model.width": {"low": 8, "high": 64, "when": {"model.family": "dcgan"}},
    "model.hidden_sizes": {"choices": [[16], [32, 64]], "when": {"model.family": ["mlp"]}},
    "train.beta1": {"low": 0.0, "high": 0.9, "when": {"train.optimizer": ["sgd", "rmsprop"]}},
}


def test_a_parameter_is_drawn_only_where_its_conditions_hold(params: Params) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    searched = with_space(params, CONDITIONAL)
    drawn = [draw(study.ask(), searched) for _ in range(60)]
    names = {values["model.family"]: set(values) for values in drawn}
    assert names == {"mlp": {"model.family", "model.hidden_sizes"}, "dcgan": {"model.family", "model.width"}}
    assert all(params.replace(values) for values in drawn)
    lists = {tuple(values["model.hidden_sizes"]) for values in drawn if "model.hidden_sizes" in values}
    assert lists == {(16,), (32, 64)}
    assert [decoded(trial.params) for trial in study.trials] == drawn
    with_sgd = searched.replace({"train.optimizer": "sgd"})
    assert "train.beta1" in draw(study.ask(), with_sgd)
    assert current_values(searched) == {"model.family": "mlp", "model.hidden_sizes": [16]}
    assert outside(current_values(searched), searched.tune.space) == []
