import math
import time
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from src.errors import UserError
from src.params import Params
from src.tracking.store import connect
from src.tuning.report import record_trial
from src.tuning.search import search, study_run
from src.tuning.space import distributions
from src.tuning.trial import TIMEOUT


def run(
    study: optuna.Study, params: Params, objective: Callable[[optuna.Trial], float], trials: int
) -> list[FrozenTrial]:
    told: list[FrozenTrial] = []
    search(study, params, objective, trials, math.inf, told.append)
    return told


def test_finished_and_pruned_trials_count(study: optuna.Study, params: Params) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise optuna.TrialPruned
        return float(trial.number)

    told = run(study, params, objective, 3)
    assert [(trial.number, trial.state, trial.value) for trial in told] == [
        (0, TrialState.COMPLETE, 0.0),
        (1, TrialState.PRUNED, None),
        (2, TrialState.COMPLETE, 2.0),
    ]


def test_no_trial_begins_after_the_deadline(study: optuna.Study, params: Params) -> None:
    search(study, params, lambda trial: 1.0, 3, time.monotonic(), lambda trial: None)
    assert not study.trials


def test_a_trial_without_enough_time_is_tried_again_by_the_next_call(study: optuna.Study, params: Params) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("reason", TIMEOUT)
        raise optuna.TrialPruned

    run(study, params, objective, 1)
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.WAITING]
    assert study.ask(distributions(params)).params == study.trials[0].params


def test_ctrl_c_marks_the_trial_and_keeps_its_values_for_the_next_call(study: optuna.Study, params: Params) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, params, objective, 3)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.ask(distributions(params)).params == study.trials[0].params


def test_an_error_marks_the_trial_and_is_passed_on(study: optuna.Study, params: Params) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise UserError("no")

    with pytest.raises(UserError):
        run(study, params, objective, 3)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_the_studys_run_is_continued(study: optuna.Study, params: Params) -> None:
    with study_run(study, params, "tiny tuning", {"seed": "0"}) as first:
        assert connect().get_run(first.run_id).info.status == "RUNNING"
    space = {"train.lr_generator": {"low": 1e-4, "high": 1e-2, "log": True}}
    with study_run(study, params.replace({"tune.space": space}), "tiny tuning", {"seed": "0"}) as second:
        assert second.run_id == first.run_id
    stored = connect().get_run(first.run_id)
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "default")
    assert stored.data.params["sampler"] == "TPESampler"
    assert stored.data.params["pruner"] == "MedianPruner"
    assert stored.data.params["train.batch_size"] == "32"
    assert '"high": 0.1' in stored.data.params["tune.space.train.lr_generator"]
    assert '"high": 0.01' in stored.data.tags["tune.space"]


def test_a_lost_run_is_replaced_with_the_scores_so_far(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with study_run(study, params, "tiny tuning", {}) as first:
        search(
            study,
            params,
            lambda trial: 5.0 - trial.number,
            2,
            math.inf,
            lambda trial: record_trial(first, study, trial),
        )
    connect().delete_run(first.run_id)
    with study_run(study, params, "tiny tuning", {}) as second:
        pass
    assert f"the MLflow run {first.run_id} of study 'default' is gone" in capsys.readouterr().out
    for run_id in (first.run_id, second.run_id):
        history = connect().get_metric_history(run_id, "best_score")
        assert [(entry.step, entry.value) for entry in history] == [(0, 5.0), (1, 4.0)]
    assert study.user_attrs["mlflow_run_id"] == second.run_id
