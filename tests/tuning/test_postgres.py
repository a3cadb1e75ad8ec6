"""The server itself works: Optuna keeps a study in it for two processes, and a dead process leaves no lock."""

import subprocess
import sys

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from .postgres import connect, create_database

WORKER = """
import sys
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = optuna.storages.RDBStorage(sys.argv[1], heartbeat_interval=1, grace_period=2)
study = optuna.load_study(study_name="shared", storage=storage)

def objective(trial):
    trial.set_user_attr("worker", sys.argv[2])
    return trial.suggest_float("x", -1, 1) ** 2

study.optimize(objective, n_trials=3)
"""
HOLDER = """
import sys
import time
import psycopg

connection = psycopg.connect(sys.argv[1].replace("+psycopg", ""), autocommit=True)
connection.execute("select pg_advisory_lock(1)")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # of heartbeats
def test_two_processes_share_a_study(postgres: str) -> None:
    url = create_database(postgres, "shared-study")
    optuna.create_study(study_name="shared", storage=RDBStorage(url, heartbeat_interval=1, grace_period=2))
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url, name]) for name in ("first", "second")]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    trials = optuna.load_study(study_name="shared", storage=RDBStorage(url)).trials
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert sorted(trial.user_attrs["worker"] for trial in trials) == ["first"] * 3 + ["second"] * 3
    with connect(url) as connection:
        beats = connection.execute("select count(distinct trial_id) from trial_heartbeats").fetchone()
    assert beats == (6,)


def test_a_killed_process_leaves_no_lock(postgres: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, postgres], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            with connect(postgres) as connection:
                assert connection.execute("select pg_try_advisory_lock(1)").fetchone() == (False,)
        finally:
            holder.kill()
    with connect(postgres) as connection:
        # The server notices within moments that the process is gone; the next one waits for that.
        connection.execute("set lock_timeout = '10s'")
        connection.execute("select pg_advisory_lock(1)")


def test_databases_are_separate(postgres: str) -> None:
    url = create_database(postgres, "separate")
    with connect(url) as connection:
        connection.execute("create table mine ()")
    with connect(postgres) as connection:
        assert connection.execute("select to_regclass('mine')").fetchone() == (None,)
