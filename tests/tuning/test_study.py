from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.retries import REASON, retry
from src.tuning.space import current_values, draw
from src.tuning.storage import journal, open_storage
from src.tuning.study import (
    all_values,
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
from tests.tuning.conftest import ask, fill

SMALLER = {"model.latent_size": {"low": 2, "high": 8}}


def reopen(params: Params, changes: dict[str, Any] | None = None, data_hash: str = "data") -> optuna.Study:
    params = params.replace(changes or {})
    return open_study(params, fingerprint(params, data_hash, "classifier"), open_storage(None))


def test_a_study_is_continued_from_its_journal(study: optuna.Study, params: Params, place: Path) -> None:
    fill(study, params, [3.0])
    again = reopen(params)
    assert journal() == place / "mlruns" / "optuna.journal"
    assert [trial.value for trial in again.trials] == [3.0]
    assert (again.direction.name, again.metric_names) == ("MINIMIZE", ["score"])


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes", "qmc"])
def test_an_interrupted_study_draws_the_same_values(
    study: optuna.Study, storage: BaseStorage, params: Params, sampler: str
) -> None:
    params = params.replace({"tune.sampler": sampler})

    def values(name: str, interrupted: int | None) -> list[dict[str, Any]]:
        made = reopen(params, {"tune.study": name})
        for number in range(14):
            made.sampler = make_sampler(made, params)
            trial = made.ask()
            values = draw(trial, params)
            if number == interrupted:  # killed, and retried
                made.tell(trial, state=TrialState.FAIL)
                assert retry(made, made.trials[number])
                made.sampler = make_sampler(made, params)
                trial = ask(made, params)
            made.tell(trial, values["train.lr_generator"] * values["model.latent_size"])
        return [trial.params for trial in made.trials if trial.state == TrialState.COMPLETE]

    drawn = values("one", None)
    assert len({str(one) for one in drawn}) > 10
    if sampler in ("tpe", "random", "gp"):
        assert values("two", 11) == drawn


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_after_a_failed_trial_other_values_are_drawn(study: optuna.Study, params: Params, sampler: str) -> None:
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


@pytest.mark.parametrize(
    ("changes", "sampler", "pruner"),
    [
        ({"sampler": "tpe", "pruner": "median"}, TPESampler, MedianPruner),
        ({"sampler": "gp", "pruner": "hyperband"}, GPSampler, HyperbandPruner),
        ({"sampler": "cmaes", "pruner": "none"}, CmaEsSampler, NopPruner),
        ({"sampler": "random", "objectives": ["seconds_per_kimg"]}, RandomSampler, NopPruner),
        ({"sampler": "qmc", "objectives": ["coverage", "seconds_per_kimg"]}, QMCSampler, NopPruner),
    ],
)
def test_samplers_and_pruners(
    study: optuna.Study,
    params: Params,
    changes: dict[str, Any],
    sampler: type[BaseSampler],
    pruner: type[BasePruner],
) -> None:
    params = params.replace({f"tune.{name}": value for name, value in changes.items()})
    assert (type(make_sampler(study, params)), type(make_pruner(params))) == (sampler, pruner)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train.batch_size": 64},
            r"the study 'default' was created with train\.batch_size 32 \(now 64\), so new scores are not comparable; "
            r"restore these values, or give tune\.study \(--study\) another name",
        ),
        ({"tune.kimg": 2}, r"tune\.kimg 0\.64 \(now 2\.0\)"),
        ({"evaluate.nearest_k": 3}, r"evaluate\.nearest_k 5 \(now 3\)"),
        (
            {"tune.constraints": {"coverage": {"at_least": 0.6}}},
            r"tune\.constraints {} \(now {'coverage': {'at_least': 0\.6}}\)",
        ),
        ({"tune.objectives": ["coverage"]}, "the study 'default' compares its trials by score, not by coverage"),
        (
            {"tune.space": {"train.lr_generator": {"choices": [1e-3]}}},
            r"tune\.space\.train\.lr_generator was FloatDistribution.* only the bounds of",
        ),
        ({"tune.space": SMALLER, "train.lr_generator": 3e-3}, r"train\.lr_generator 0\.004 \(now 0\.003\)"),
        # What is searched, or changes no score, can change.
        ({"tune.space": SMALLER}, None),
        ({"train.lr_generator": 5e-3, "train.kimg": 1000, "train.device": "auto", "train.log_every_kimg": 1}, None),
        ({"tune.space": {"train.lr_generator": {"low": 1e-5, "high": 1.0, "log": True}, **SMALLER}}, None),
        ({"tune.study": "other", "train.batch_size": 64}, None),
    ],
)
def test_trials_must_be_comparable(
    study: optuna.Study, params: Params, changes: dict[str, Any], sentence: str | None
) -> None:
    fill(study, params, [1.0])
    if sentence is None:
        assert len(reopen(params, changes).trials) == ("tune.study" not in changes)
        return
    with pytest.raises(UserError, match=sentence):
        reopen(params, changes)


def test_other_data_is_refused_by_a_short_hash(study: optuna.Study, params: Params) -> None:
    with pytest.raises(UserError, match=r"data\.hash data \(now 0123456789ab\), "):
        reopen(params, data_hash="0123456789abcdef")


def test_a_missing_study_and_a_corrupt_journal_are_named(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    with pytest.raises(UserError, match=r"there is no study named 'other' \(existing studies: default\)"):
        existing_study("other", storage)
    journal().write_text("not json\n" + journal().read_text())
    with pytest.raises(UserError, match=r"optuna\.journal cannot be read .*move it away"):
        reopen(params)


def test_values_inside_the_space_are_enqueued_once(study: optuna.Study, params: Params) -> None:
    assert enqueue(study, {"train.lr_generator": 0.5, "model.latent_size": 4}, params) == ["train.lr_generator"]
    assert not study.trials
    assert enqueue(study, current_values(params), params, origin="params.yaml") == []
    first = ask(study, params)
    assert first.params == {"train.lr_generator": params.train.lr_generator, "model.latent_size": 4}
    assert first.user_attrs["origin"] == "params.yaml"
    enqueue(study, current_values(params), params)
    assert ask(study, params).params != current_values(params)


def test_all_values_are_those_of_the_study_and_of_the_trial(study: optuna.Study, params: Params) -> None:
    assert best_trials(study) == []
    fill(study, params, [3.0, 1.0, 2.0])
    (best,) = best_trials(study)
    assert best.number == 1
    values = all_values(study, best)
    assert values["train.lr_generator"] == best.params["train.lr_generator"]
    assert values["train.batch_size"] == 32
    assert "train.kimg" not in values
    assert run_length(study) == {"train.kimg": 0.64, "train.score_every_kimg": 0.16}
    with pytest.raises(UserError, match="the study 'default' has no trial 3; it has 0 to 2"):
        trial_number(study, 3)


def test_a_trial_beyond_a_constraint_is_never_the_best(study: optuna.Study, params: Params) -> None:
    for score, excess in ((1.0, 0.2), (3.0, -0.1), (2.0, 0.0)):
        trial = ask(study, params)
        trial.set_constraint("coverage", excess)
        study.tell(trial, score)
    assert [trial.value for trial in best_trials(study)] == [2.0]
