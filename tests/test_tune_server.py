"""Workers of a study on a real PostgreSQL server."""

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from src.params_edit import write_params
from src.tuning.retries import first_number
from src.tuning.storage import open_storage
from src.tuning.study import existing_study
from tests.conftest import start
from tests.test_tune import REPOSITORY, digits_project, project, stored_runs, worker_processes
from tests.tuning.postgres import create_database

__all__ = ["digits_project", "project"]


@pytest.mark.slow
def test_four_workers_forty_trials_and_a_kill(project: Path, postgres: str) -> None:
    url = create_database(postgres, "forty-trials").replace("+psycopg", "", 1)
    write_params({"tune.kimg": 2.56})
    command = [sys.executable, "-m", "src.tune", "--trials", "40", "--workers", "4", "--storage", url]
    running = start(command, {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"})
    try:
        limit, killed = time.monotonic() + 120, False
        while not killed:
            assert time.monotonic() < limit
            assert running.poll() is None, running.communicate()
            time.sleep(0.2)
            children = worker_processes(running.pid)
            runs = Path("mlruns/outbox")
            if len(children) == 4 and runs.is_dir() and len(list(runs.iterdir())) >= 3:
                os.kill(children[1], signal.SIGKILL)
                killed = True
        output, errors = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 0, errors
    assert "ended by SIGKILL; another one takes over" in output
    trials = existing_study("default", open_storage(url)).trials
    counts = Counter(trial.state for trial in trials)
    assert counts[TrialState.COMPLETE] + counts[TrialState.PRUNED] == 40
    assert counts[TrialState.RUNNING] == counts[TrialState.WAITING] == 0
    # None doubled: each trial, however often it was tried, has finished once, with values of its own.
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len({first_number(trial) for trial in finished}) == 40
    assert len({str(trial.params) for trial in finished}) == 40
    _, children_runs = stored_runs()
    assert sorted(run.info.run_id for run in children_runs) == sorted(
        one.user_attrs["mlflow_run_id"] for one in finished
    )
    assert Counter(run.info.status for run in children_runs) == {
        status: count
        for status, count in (("FINISHED", counts[TrialState.COMPLETE]), ("KILLED", counts[TrialState.PRUNED]))
        if count
    }
