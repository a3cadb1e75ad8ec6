"""Workers of a study on a real PostgreSQL server."""

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from src.config.edit import write_params
from src.tracking.store import connect
from src.tuning.retries import first_number
from src.tuning.storage import open_storage
from src.tuning.study import existing_study
from tests.conftest import start
from tests.test_tune import digits_project, environment, project, stored_runs, worker_processes
from tests.tuning.postgres import create_database

__all__ = ["digits_project", "project"]


@pytest.mark.slow
def test_four_workers_twenty_trials_and_a_kill(project: Path, postgres: str) -> None:
    url = create_database(postgres, "twenty-trials")
    write_params({"tune.kimg": 2.56})
    command = [sys.executable, "-m", "src.tune", "--trials", "20", "--workers", "4", "--storage", url]
    running = start(command, environment())
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
    assert "ended by SIGKILL; it is replaced" in output
    trials = existing_study("default", open_storage(url)).trials
    counts = Counter(trial.state for trial in trials)
    assert counts[TrialState.COMPLETE] + counts[TrialState.PRUNED] == 20
    assert counts[TrialState.RUNNING] == counts[TrialState.WAITING] == 0
    # None doubled: each trial, however often it was tried, has finished once, with values of its own.
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len({first_number(trial) for trial in finished}) == 20
    assert len({str(trial.params) for trial in finished}) == 20
    _, children_runs = stored_runs()
    assert sorted(run.info.run_id for run in children_runs) == sorted(
        one.user_attrs["mlflow_run_id"] for one in finished
    )
    assert Counter(run.info.status for run in children_runs) == {
        status: count
        for status, count in (("FINISHED", counts[TrialState.COMPLETE]), ("KILLED", counts[TrialState.PRUNED]))
        if count
    }


@pytest.mark.slow
def test_two_leaders_share_a_study_and_its_run(project: Path, postgres: str) -> None:
    """As two machines do: each has its own worker, and the study ends at its number of trials."""
    url = create_database(postgres, "two-leaders")
    command = [sys.executable, "-m", "src.tune", "--trials", "5", "--storage", url]
    leaders = [start(command, environment()) for _ in range(2)]
    try:
        ends = [leader.communicate(timeout=240) for leader in leaders]
    finally:
        for leader in leaders:
            leader.kill()
    assert [leader.returncode for leader in leaders] == [0, 0], ends
    assert [errors for _, errors in ends] == ["", ""]
    trials = existing_study("default", open_storage(url)).trials
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert [trial.number for trial in trials] == list(range(5))
    assert [trial.user_attrs.get("origin") for trial in trials].count("params.yaml") == 1
    parent, children = stored_runs()
    assert len(children) == 5
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["trials"] == "5"
    curve = connect().get_metric_history(parent.info.run_id, "best_score")
    assert sorted(point.step for point in curve) == list(range(1, 6))
