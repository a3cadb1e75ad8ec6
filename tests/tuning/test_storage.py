import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.retries import KILLS, WORKER, retry_stale
from src.tuning.storage import alive, exclusively, is_alive, journal, open_storage, remove_dead_locks, shown
from src.tuning.study import fingerprint, open_study
from tests.conftest import ROOT
from tests.tuning.conftest import worker_process
from tests.tuning.postgres import connect, create_database

HOLDER = """
import sys
import time
from src.tuning.storage import exclusively, open_storage

with exclusively(open_storage(sys.argv[1] if len(sys.argv) > 1 else None)):
    print("mine", flush=True)
    time.sleep(600)
"""
BEATER = """
import os
import signal
import sys
import optuna
from src.tuning.storage import open_storage

def objective(trial):
    trial.suggest_float("train.lr_generator", 1e-4, 1e-1, log=True)
    trial.set_user_attr("worker", "of another machine")
    trial.report(7.0, 1)
    os.kill(os.getpid(), signal.SIGKILL)

optuna.load_study(study_name="default", storage=open_storage(sys.argv[1])).optimize(objective, n_trials=1)
"""
MAKER = """
import signal
import sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # before an import starts a thread
from src.tuning.storage import open_storage

print("ready", flush=True)
signal.sigwait([signal.SIGUSR1])
open_storage(sys.argv[1])
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def server_storage(postgres: str, name: str) -> tuple[str, RDBStorage]:
    url = create_database(postgres, name)
    storage = open_storage(url)
    assert isinstance(storage, RDBStorage)
    return url, storage


def held_by_another_and_then_killed(storage: BaseStorage, *arguments: str) -> None:
    with python(HOLDER, *arguments) as holder:
        assert said(holder) == "mine"
        began = time.monotonic()
        killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {holder.pid}"])
        with exclusively(storage):  # as soon as the process is dead
            waited = time.monotonic() - began
        killer.wait()
    assert holder.returncode == -9
    assert 0.8 < waited < 30


def test_one_process_at_a_time_has_a_journal(storage: BaseStorage) -> None:
    held_by_another_and_then_killed(storage)


def test_one_process_at_a_time_has_a_server(postgres: str, place: Path) -> None:
    url, storage = server_storage(postgres, "exclusive")
    held_by_another_and_then_killed(storage, url)


def test_a_trial_whose_worker_sends_no_heartbeat_is_tried_again(postgres: str, place: Path, params: Params) -> None:
    url, storage = server_storage(postgres, "heartbeats")
    study = open_study(params, fingerprint(params, "data", "classifier"), storage)
    study.enqueue_trial({"train.lr_generator": 0.003})
    with python(BEATER, url) as killed:
        assert killed.wait(timeout=60) == -9
    with exclusively(storage):
        assert retry_stale(study, storage) == []  # its last heartbeat is a moment old
    with connect(url) as connection:
        connection.execute("update trial_heartbeats set heartbeat = heartbeat - interval '31 seconds'")
    with exclusively(storage):
        assert [trial.number for trial in retry_stale(study, storage)] == [0]
        assert retry_stale(study, storage) == []
    failed, waiting = study.trials
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    assert waiting.params == {"train.lr_generator": 0.003}
    assert waiting.intermediate_values == {1: 7.0}
    assert waiting.user_attrs == {KILLS: 1}
    assert failed.user_attrs == {WORKER: "of another machine"}


def test_two_machines_may_make_the_tables_of_a_server_at_once(postgres: str) -> None:
    url = create_database(postgres, "at-once")
    with python(MAKER, url) as first, python(MAKER, url) as second:
        assert [said(maker) for maker in (first, second)] == ["ready", "ready"]
        for maker in (first, second):
            os.kill(maker.pid, signal.SIGUSR1)
        assert [maker.wait(timeout=120) for maker in (first, second)] == [0, 0]
    assert optuna.get_all_study_summaries(open_storage(url)) == []


@pytest.mark.parametrize(
    "url", ["mysql://me@host/studies", "optuna.journal", "sqlite:///optuna.db", "://me@host/studies"]
)
def test_other_storages_are_refused(place: Path, url: str) -> None:
    with pytest.raises(UserError, match=r"is not allowed: it must be postgresql://\[USER@\]HOST\[:PORT\]/DATABASE"):
        open_storage(url)


def test_a_server_out_of_reach_is_named_without_its_password(place: Path) -> None:
    with pytest.raises(UserError, match=r"^the storage postgresql://127\.0\.0\.1:9/studies cannot be used: ") as caught:
        open_storage("postgresql://me:secret@127.0.0.1:9/studies")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_is_shown_without_a_password(place: Path) -> None:
    assert shown("postgresql://me:p@ss@host:5432/studies") == "postgresql://host:5432/studies"
    assert shown(None) == str(journal()) == str(place / "mlruns" / "optuna.journal")


def test_a_worker_is_alive_as_long_as_its_process(storage: BaseStorage) -> None:
    with worker_process("killed") as kill, alive("mine"):
        assert is_alive("killed")
        kill()
        remove_dead_locks()
        assert [path.stem for path in Path("mlruns/workers").iterdir()] == ["mine"]
        assert (is_alive("killed"), is_alive("mine")) == (False, True)
    assert list(Path("mlruns/workers").iterdir()) == []


def test_a_missing_journal_is_empty_and_is_not_created(place: Path) -> None:
    assert optuna.get_all_study_names(open_storage(None, create=False)) == []
    assert not journal().exists()
