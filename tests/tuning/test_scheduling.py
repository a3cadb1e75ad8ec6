import subprocess
import sys

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.tuning.retries import INTERRUPTED, KILLS, MAX_KILLS, REASON, WORKER, first_number, next_attempts
from src.tuning.scheduling import Turn, next_turn, retire_stale
from src.tuning.storage import Mark, exclusively, lives
from tests.tuning.conftest import ask


def test_a_worker_lives_as_long_as_its_process(storage: BaseStorage) -> None:
    with Mark() as mark:
        assert lives(mark.worker)
    assert not lives(mark.worker)
    code = (
        "import os, signal\nfrom src.tuning.storage import Mark\nmark = Mark().__enter__()\n"
        "print(mark.worker, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_path())
    assert killed.returncode == -9
    assert not lives(killed.stdout.strip())


def _path() -> dict[str, str]:
    import os
    from pathlib import Path

    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_turns_fill_the_budget_and_not_more(study: optuna.Study, params: Params) -> None:
    assert next_turn(study, 2) is Turn.GO
    trials = [ask(study, params), ask(study, params)]
    assert next_turn(study, 2) is Turn.WAIT
    study.tell(trials[0], 1.0)
    assert next_turn(study, 2) is Turn.WAIT
    study.tell(trials[1], state=TrialState.FAIL)  # it did not count
    assert next_turn(study, 2) is Turn.GO
    study.tell(ask(study, params), state=TrialState.PRUNED)
    assert next_turn(study, 2) is Turn.DONE


def test_trials_of_workers_that_are_gone_are_tried_again(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    stale, living, nameless = (ask(study, params) for _ in range(3))
    stale.report(7.0, 1)
    stale.set_user_attr(WORKER, "gone")
    stale.set_user_attr("mlflow_run_id", "of the trial")
    with Mark() as mark, exclusively(storage):
        living.set_user_attr(WORKER, mark.worker)
        assert [trial.number for trial in retire_stale(study, storage)] == [stale.number, nameless.number]
        assert retire_stale(study, storage) == []
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING, TrialState.WAITING]
    again = ask(study, params)
    stored = study.trials[again.number]
    assert (again.number, again.params, stored.intermediate_values) == (3, stale.params, {1: 7.0})
    assert stored.user_attrs == {"mlflow_run_id": "of the trial", KILLS: 1}
    assert first_number(stored) == 0
    assert next_attempts(study.trials) == {0: 3, 2: 4}


def test_what_kills_its_workers_is_not_tried_for_ever(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    numbers = []
    for _ in range(MAX_KILLS):
        numbers.append(ask(study, params).number)
        retire_stale(study, storage)
    assert numbers == [0, 1, 2]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
    assert {first_number(trial) for trial in study.trials} == {0}


def test_what_a_worker_left_between_its_end_and_the_queue_is_queued(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    for attributes in ({REASON: "Ctrl-C", INTERRUPTED: True}, {}, {REASON: "RuntimeError: disk"}):
        trial = ask(study, params)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        study.tell(trial, state=TrialState.FAIL)
    assert [trial.number for trial in retire_stale(study, storage)] == [0, 1]
    assert retire_stale(study, storage) == []
    interrupted, killed = study.trials[3:]
    assert (interrupted.params, interrupted.user_attrs) == (study.trials[0].params, {KILLS: 0})
    assert (killed.params, killed.user_attrs) == (study.trials[1].params, {KILLS: 1})


def test_where_only_the_queue_is_worked_off_nothing_is_drawn(study: optuna.Study, params: Params) -> None:
    study.enqueue_trial({"train.lr_generator": 0.01, "model.latent_size": 3})
    assert next_turn(study, 2, queued_only=True) is Turn.GO
    trial = ask(study, params)
    assert next_turn(study, 2, queued_only=True) is Turn.WAIT
    study.tell(trial, state=TrialState.FAIL)
    assert next_turn(study, 2, queued_only=True) is Turn.DONE
    assert next_turn(study, 2) is Turn.GO
