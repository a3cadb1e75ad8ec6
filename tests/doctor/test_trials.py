from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.core.errors import UserError
from src.doctor.trials import check_trials
from src.tuning.retries import WORKER
from src.tuning.storage import alive, journal
from tests.tuning.conftest import ask, fill, worker_process


def test_no_journal_is_nothing_to_check(place: Path) -> None:
    assert list(check_trials()) == []
    assert not journal().exists()


def test_trials_under_way_are_left_alone(study: optuna.Study, params: Params) -> None:
    fill(study, params, [1.0])
    with alive("mine"):
        ask(study, params).set_user_attr(WORKER, "mine")
        assert [(one.level, one.text) for one in check_trials()] == [("ok", "no trial has lost its worker")]


def test_the_trial_of_a_worker_that_was_killed(storage: BaseStorage, study: optuna.Study, params: Params) -> None:
    trial = ask(study, params)
    trial.set_user_attr(WORKER, "killed")
    with worker_process("killed") as kill:
        assert [one.level for one in check_trials()] == ["ok"]
        kill()
    (finding,) = check_trials()
    assert (finding.level, finding.text) == ("warning", "study 'default': trials of dead workers: 0")
    assert [one.state for one in study.trials] == [TrialState.RUNNING]
    assert finding.repair is not None
    assert finding.repair() == "study 'default': enqueued again: 0"
    assert [one.state for one in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].params == trial.params
    assert [one.level for one in check_trials()] == ["ok"]


def test_a_corrupt_journal(place: Path) -> None:
    journal().write_text('{"op": 0}\n' * 3)
    with pytest.raises(UserError, match=r"optuna\.journal cannot be read"):
        list(check_trials())
