import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from src.errors import UserError
from src.params import Params
from src.tracking.runs import new_run
from src.tracking.store import connect
from src.tuning.space import current_values, distributions
from src.tuning.study import best_trial, best_values, enqueue, fingerprint, journal, open_study, retire_stale


def reopen(params: Params, data_hash: str = "data", **changes: Any) -> optuna.Study:
    params = params.replace({name.replace("__", "."): value for name, value in changes.items()})
    return open_study(params, fingerprint(params, data_hash, "classifier"))


def test_a_study_is_continued_from_its_journal(study: optuna.Study, params: Params, place: Path) -> None:
    study.tell(study.ask(distributions(params)), 3.0)
    again = reopen(params)
    assert journal() == place / "mlruns" / "optuna.journal"
    assert [trial.value for trial in again.trials] == [3.0]
    assert again.direction.name == "MINIMIZE"


def test_a_continued_study_draws_new_values(study: optuna.Study, params: Params) -> None:
    first = study.ask(distributions(params)).params
    second = reopen(params).ask(distributions(params)).params
    assert first != second


def test_other_base_parameters_are_refused_by_name(study: optuna.Study, params: Params) -> None:
    wanted = (
        r"the study 'default' was made with train\.batch_size 32 \(now 64\), data\.hash data \(now 0123456789ab\): "
        r"new scores could not be compared; change that back, or give tune\.study another name"
    )
    with pytest.raises(UserError, match=wanted):
        reopen(params, "0123456789abcdef", train__batch_size=64)
    with pytest.raises(UserError, match=r"tune\.kimg 0\.64 \(now 2\.0\)"):
        reopen(params, tune__kimg=2)
    assert not reopen(params, tune__study="other", train__batch_size=64).trials


def test_searched_values_device_length_and_logging_may_change(study: optuna.Study, params: Params) -> None:
    reopen(params, train__lr_generator=5e-3, train__kimg=1000, train__device="auto", train__log_every_kimg=1)


def test_the_space_may_change_its_ends_but_not_its_kind(study: optuna.Study, params: Params) -> None:
    study.ask(distributions(params))
    wider = {"train.lr_generator": {"low": 1e-5, "high": 1.0, "log": True}, "train.beta1": {"low": 0.0, "high": 0.9}}
    reopen(params, tune__space=wider)
    with pytest.raises(UserError, match=r"tune\.space\.train\.lr_generator was FloatDistribution.* only the ends of"):
        reopen(params, tune__space={"train.lr_generator": {"choices": [1e-3]}})


def test_a_parameter_that_leaves_the_space_must_have_its_first_value(study: optuna.Study, params: Params) -> None:
    smaller = {"model.latent_size": {"low": 2, "high": 8}}
    reopen(params, tune__space=smaller)
    with pytest.raises(UserError, match=r"train\.lr_generator 0\.003 \(now 0\.005\)"):
        reopen(params, tune__space=smaller, train__lr_generator=5e-3)


def test_a_study_that_must_exist_and_does_not(place: Path, params: Params) -> None:
    with pytest.raises(UserError, match=r"there is no study 'default' in .*optuna\.journal"):
        open_study(params, {}, create=False)


def test_a_corrupt_journal_is_named(study: optuna.Study, params: Params) -> None:
    journal().write_text("not json\n" + journal().read_text())
    with pytest.raises(UserError, match=r"optuna\.journal cannot be read .*move it away"):
        reopen(params)


def test_the_first_trial_takes_the_enqueued_values_once(study: optuna.Study, params: Params) -> None:
    assert enqueue(study, current_values(params), params) == []
    assert study.ask(distributions(params)).params == {
        "train.lr_generator": params.train.lr_generator,
        "model.latent_size": 4,
    }
    enqueue(study, current_values(params), params)
    assert study.ask(distributions(params)).params != current_values(params)


def test_values_outside_the_space_are_not_enqueued(study: optuna.Study, params: Params) -> None:
    assert enqueue(study, {"train.lr_generator": 0.5, "model.latent_size": 4}, params) == ["train.lr_generator"]
    assert not study.trials


def abandoned(study: optuna.Study, params: Params, pid: int, host: str, run_id: str = "") -> optuna.Trial:
    trial = study.ask(distributions(params))
    for name, value in {"pid": pid, "host": host, "mlflow_run_id": run_id}.items():
        trial.set_user_attr(name, value)
    return trial


def test_trials_of_processes_that_are_gone_are_tried_again(study: optuna.Study, params: Params) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with new_run("tiny tuning", "left behind", {}, {}) as run:
        stale = abandoned(study, params, gone.pid, platform.node(), run.run_id)
    abandoned(study, params, os.getppid(), platform.node())
    abandoned(study, params, gone.pid, "another machine")
    just_asked = study.ask(distributions(params))

    assert [trial.number for trial in retire_stale(study, params)] == [stale.number]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, *[TrialState.RUNNING] * 3, TrialState.WAITING]
    assert just_asked.number == 3
    assert study.ask(distributions(params)).params == stale.params
    stored = connect().get_run(run.run_id)
    assert (stored.info.status, stored.data.tags["stopped"]) == ("KILLED", "its process is gone")


def test_best_values_are_the_first_base_and_the_trials_own(study: optuna.Study, params: Params) -> None:
    assert best_trial(study) is None
    for score in (3.0, 1.0, 2.0):
        trial = study.ask(distributions(params))
        study.tell(trial, score)
    best = best_trial(study)
    assert best is not None
    assert best.number == 1
    values = best_values(study, best)
    assert values["train.lr_generator"] == best.params["train.lr_generator"]
    assert values["train.batch_size"] == 32
    assert not {"tune.kimg", "data.hash", "train.kimg", "train.device"} & set(values)
