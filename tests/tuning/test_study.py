from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.retries import REASON, retry
from src.tuning.space import current_values, draw
from src.tuning.storage import journal, open_storage
from src.tuning.study import (
    all_values,
    base_values,
    best_trials,
    enqueue,
    existing_study,
    fingerprint,
    make_pruner,
    make_sampler,
    open_study,
    run_length,
    trial_number,
)
from tests.tuning.conftest import ask


def reopen(params: Params, data_hash: str = "data", **changes: Any) -> optuna.Study:
    params = params.replace({name.replace("__", "."): value for name, value in changes.items()})
    return open_study(params, fingerprint(params, data_hash, "classifier"), open_storage(None))


def test_a_study_is_continued_from_its_journal(study: optuna.Study, params: Params, place: Path) -> None:
    study.tell(ask(study, params), 3.0)
    again = reopen(params)
    assert journal() == place / "mlruns" / "optuna.journal"
    assert [trial.value for trial in again.trials] == [3.0]
    assert (again.direction.name, again.metric_names) == ("MINIMIZE", ["score"])


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes", "qmc"])
def test_an_interrupted_study_draws_what_it_would_have_drawn(
    study: optuna.Study, storage: BaseStorage, params: Params, sampler: str
) -> None:
    params = params.replace({"tune.sampler": sampler})

    def values(name: str, interrupted: int | None) -> list[dict[str, Any]]:
        made = reopen(params, tune__study=name)
        for number in range(14):
            made.sampler = make_sampler(made, params)
            trial = made.ask()
            values = draw(trial, params)
            if number == interrupted:  # it is killed, and tried again
                made.tell(trial, state=TrialState.FAIL)
                assert retry(made, made.trials[number])
                made.sampler = make_sampler(made, params)
                trial = made.ask()
                draw(trial, params)
            made.tell(trial, values["train.lr_generator"] * values["model.latent_size"])
        return [trial.params for trial in made.trials if trial.state == TrialState.COMPLETE]

    drawn = values("one", None)
    assert len({str(one) for one in drawn}) > 10
    if sampler in ("tpe", "random", "gp"):
        assert values("two", 11) == drawn


def test_every_sampler_and_pruner_has_a_name(study: optuna.Study, params: Params) -> None:
    samplers = {"tpe": TPESampler, "gp": GPSampler, "cmaes": CmaEsSampler, "random": RandomSampler, "qmc": QMCSampler}
    for name, kind in samplers.items():
        assert type(make_sampler(study, params.replace({"tune.sampler": name}))) is kind
    pruners = {"median": MedianPruner, "hyperband": HyperbandPruner, "none": NopPruner}
    for name, pruner in pruners.items():
        assert type(make_pruner(params.replace({"tune.pruner": name}))) is pruner
    several = params.replace({"tune.objectives": ["coverage", "seconds_per_kimg"]})
    assert type(make_pruner(several)) is type(make_pruner(params.replace({"tune.objectives": ["seconds_per_kimg"]})))
    assert type(make_pruner(several)) is NopPruner


def test_other_base_parameters_are_refused_by_name(study: optuna.Study, params: Params) -> None:
    wanted = (
        r"the study 'default' was created with train\.batch_size 32 \(now 64\), data\.hash data \(now 0123456789ab\), "
        r"so new scores are not comparable; restore these values, or give tune\.study \(--study\) another name"
    )
    with pytest.raises(UserError, match=wanted):
        reopen(params, "0123456789abcdef", train__batch_size=64)
    with pytest.raises(UserError, match=r"tune\.kimg 0\.64 \(now 2\.0\)"):
        reopen(params, tune__kimg=2)
    with pytest.raises(UserError, match="the study 'default' compares its trials by score, not by coverage"):
        reopen(params, tune__objectives=["coverage"])
    assert not reopen(params, tune__study="other", train__batch_size=64).trials


def test_searched_values_device_length_and_logging_may_change(study: optuna.Study, params: Params) -> None:
    reopen(params, train__lr_generator=5e-3, train__kimg=1000, train__device="auto", train__log_every_kimg=1)


def test_the_space_may_change_its_ends_but_not_its_kind(study: optuna.Study, params: Params) -> None:
    ask(study, params)
    wider = {"train.lr_generator": {"low": 1e-5, "high": 1.0, "log": True}, "train.beta1": {"low": 0.0, "high": 0.9}}
    reopen(params, tune__space=wider)
    with pytest.raises(UserError, match=r"tune\.space\.train\.lr_generator was FloatDistribution.* only the bounds of"):
        reopen(params, tune__space={"train.lr_generator": {"choices": [1e-3]}})


def test_a_parameter_that_leaves_the_space_must_have_its_first_value(study: optuna.Study, params: Params) -> None:
    smaller = {"model.latent_size": {"low": 2, "high": 8}}
    reopen(params, tune__space=smaller)
    with pytest.raises(UserError, match=r"train\.lr_generator 0\.003 \(now 0\.005\)"):
        reopen(params, tune__space=smaller, train__lr_generator=5e-3)


def test_a_study_that_must_exist_and_does_not(study: optuna.Study, storage: BaseStorage) -> None:
    with pytest.raises(UserError, match=r"there is no study named 'other' \(existing studies: default\)"):
        existing_study("other", storage)


def test_a_corrupt_journal_is_named(study: optuna.Study, params: Params) -> None:
    journal().write_text("not json\n" + journal().read_text())
    with pytest.raises(UserError, match=r"optuna\.journal cannot be read .*move it away"):
        reopen(params)


def test_the_first_trial_takes_the_enqueued_values_once(study: optuna.Study, params: Params) -> None:
    assert enqueue(study, current_values(params), params, origin="params.yaml") == []
    first = ask(study, params)
    assert first.params == {"train.lr_generator": params.train.lr_generator, "model.latent_size": 4}
    assert first.user_attrs["origin"] == "params.yaml"
    enqueue(study, current_values(params), params)
    assert ask(study, params).params != current_values(params)


def test_values_outside_the_space_are_not_enqueued(study: optuna.Study, params: Params) -> None:
    assert enqueue(study, {"train.lr_generator": 0.5, "model.latent_size": 4}, params) == ["train.lr_generator"]
    assert not study.trials


def test_all_values_are_the_first_base_and_the_trials_own(study: optuna.Study, params: Params) -> None:
    assert best_trials(study) == []
    for score in (3.0, 1.0, 2.0):
        study.tell(ask(study, params), score)
    (best,) = best_trials(study)
    assert best.number == 1
    values = all_values(study, best)
    assert values["train.lr_generator"] == best.params["train.lr_generator"]
    assert values["train.batch_size"] == 32
    assert "train.kimg" not in values
    with pytest.raises(UserError, match="the study 'default' has no trial 3; it has 0 to 2"):
        trial_number(study, 3)


def test_a_trial_beyond_a_constraint_is_never_the_best(study: optuna.Study, params: Params) -> None:
    for score, excess in ((1.0, 0.2), (3.0, -0.1), (2.0, 0.0)):
        trial = ask(study, params)
        trial.set_constraint("coverage", excess)
        study.tell(trial, score)
    assert [trial.value for trial in best_trials(study)] == [2.0]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_after_a_trial_that_failed_for_good_something_else_is_drawn(
    study: optuna.Study, params: Params, sampler: str
) -> None:
    params = params.replace({"tune.sampler": sampler})
    for _ in range(3):
        study.sampler = make_sampler(study, params)
        trial = ask(study, params)
        trial.set_user_attr(REASON, "RuntimeError: it cannot be")
        study.tell(trial, state=TrialState.FAIL)
        assert not retry(study, study.trials[trial.number])
    assert len({str(trial.params) for trial in study.trials}) == 3


def test_qmc_draws_other_values_of_conditional_parameters_too(study: optuna.Study, params: Params) -> None:
    space = {
        "model.family": {"choices": ["mlp", "dcgan"]},
        "model.dropout": {"low": 0.0, "high": 0.5, "when": {"model.family": "mlp"}},
    }
    params = params.replace({"tune.sampler": "qmc", "tune.space": space})
    for _ in range(12):
        study.sampler = make_sampler(study, params)
        study.tell(ask(study, params), 1.0)
    drawn = [trial.params["model.dropout"] for trial in study.trials if "model.dropout" in trial.params]
    assert len(drawn) == len(set(drawn)) > 2


def test_other_constraints_or_metrics_are_refused(study: optuna.Study, params: Params) -> None:
    with pytest.raises(UserError, match=r"created with tune\.constraints {} \(now {'coverage': {'at_least': 0\.6}}\)"):
        reopen(params, tune__constraints={"coverage": {"at_least": 0.6}})
    with pytest.raises(UserError, match=r"created with evaluate\.nearest_k 5 \(now 3\)"):
        reopen(params, evaluate__nearest_k=3)


def test_a_study_keeps_its_first_values_and_length(study: optuna.Study, params: Params) -> None:
    assert base_values(study)["train.batch_size"] == 32
    assert run_length(study) == {"train.kimg": 0.64, "train.score_every_kimg": 0.16}
