from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.tuning.retries import (
    INTERRUPTED,
    KILLS,
    MAX_KILLS,
    REASON,
    WORKER,
    first_number,
    next_attempts,
    next_turn,
    retry_stale,
)
from src.tuning.storage import alive, exclusively
from tests.tuning.conftest import ask


def test_the_budget_is_used_and_not_exceeded(study: optuna.Study, params: Params) -> None:
    assert next_turn(study, 2) == "start"
    trials = [ask(study, params), ask(study, params)]
    assert next_turn(study, 2) == "wait"
    study.tell(trials[0], 1.0)
    assert next_turn(study, 2) == "wait"
    study.tell(trials[1], state=TrialState.FAIL)  # does not count
    assert next_turn(study, 2) == "start"
    study.tell(ask(study, params), state=TrialState.PRUNED)
    assert next_turn(study, 2) == "done"


def test_only_queued_trials_are_started_if_nothing_may_be_drawn(study: optuna.Study, params: Params) -> None:
    study.enqueue_trial({"train.lr_generator": 0.01, "model.latent_size": 3})
    assert next_turn(study, 2, queued_only=True) == "start"
    trial = ask(study, params)
    assert next_turn(study, 2, queued_only=True) == "wait"
    study.tell(trial, state=TrialState.FAIL)
    assert next_turn(study, 2, queued_only=True) == "done"
    assert next_turn(study, 2) == "start"


def test_trials_of_dead_workers_are_retried(study: optuna.Study, storage: BaseStorage, params: Params) -> None:
    stale, living, nameless = (ask(study, params) for _ in range(3))
    stale.report(7.0, 1)
    stale.set_user_attr(WORKER, "dead")
    stale.set_user_attr("mlflow_run_id", "of the trial")
    living.set_user_attr(WORKER, "living")
    with alive("living"), exclusively(storage):
        assert [trial.number for trial in retry_stale(study, storage)] == [stale.number, nameless.number]
        assert retry_stale(study, storage) == []
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING, TrialState.WAITING]
    again = ask(study, params)
    stored = study.trials[again.number]
    assert (again.number, again.params, stored.intermediate_values) == (3, stale.params, {1: 7.0})
    assert stored.user_attrs == {"mlflow_run_id": "of the trial", KILLS: 1}
    assert first_number(stored) == 0
    assert next_attempts(study.trials) == {0: 3, 2: 4}


def test_a_trial_that_kills_its_workers_is_given_up(study: optuna.Study, storage: BaseStorage, params: Params) -> None:
    numbers = []
    for _ in range(MAX_KILLS):
        numbers.append(ask(study, params).number)
        retry_stale(study, storage)
    assert numbers == [0, 1, 2]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
    assert {first_number(trial) for trial in study.trials} == {0}


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [({REASON: "Ctrl-C", INTERRUPTED: True}, {KILLS: 0}), ({}, {KILLS: 1}), ({REASON: "RuntimeError: disk"}, None)],
)
def test_a_failed_trial_that_was_not_enqueued_is_retried_unless_it_failed_by_itself(
    study: optuna.Study, storage: BaseStorage, params: Params, attributes: dict[str, Any], kept: dict[str, int] | None
) -> None:
    trial = ask(study, params)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    study.tell(trial, state=TrialState.FAIL)
    assert [one.number for one in retry_stale(study, storage)] == ([] if kept is None else [0])
    assert retry_stale(study, storage) == []
    assert [(one.params, one.user_attrs) for one in study.trials[1:]] == (
        [] if kept is None else [(trial.params, kept)]
    )
