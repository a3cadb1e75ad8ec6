import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from src import train
from src.config.edit import write_params
from src.doctor.finding import Finding
from src.doctor.orphans import check_runs
from src.tracking import store
from src.tracking.origin import Origin
from src.tracking.runs import STARTED_IN, new_run, reopened_run, started_in
from tests.conftest import ROOT, Project
from tests.test_train import LENGTH, training

HOLD = """
import sys, time
from src.tracking.origin import Origin
from src.tracking.runs import new_run, reopened_run, training_run
with (
    new_run("digits", Origin.here("second", {}, {})) as plain,
    training_run("digits", Origin.here("third", {}, {})) as training,
    reopened_run(sys.argv[1]) as reopened,
):
    while training.waiting:
        time.sleep(0.01)
    print(plain.run_id, training.run_id, reopened.run_id, flush=True)
    input()
"""


def levels() -> list[str]:
    return [one.level for one in check_runs(store.connect())]


def only() -> Finding:
    (finding,) = check_runs(store.connect())
    return finding


@contextmanager
def held(run_id: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A living process with a run of each kind, one of them the given one, which has ended before; and the ids of the three."""
    command = [sys.executable, "-c", HOLD, run_id]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(Path.home())}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()
        process.kill()


def test_no_run_is_open(place: Path) -> None:
    with new_run("digits", Origin.here("done", {}, {})):
        assert only().text == "runs: 1 in progress here"
    assert (only().level, only().text) == ("ok", "no run is left open")


def test_the_runs_of_a_killed_process(place: Path) -> None:
    client = store.connect()
    with new_run("digits", Origin.here("first", {}, {})) as made:
        pass
    with held(made.run_id) as (process, run_ids):
        assert run_ids[2] == made.run_id
        assert only().text == "runs: 3 in progress here"
        process.kill()
        process.wait()
        finding = only()
        names = {f"{client.get_run(one).info.run_name} ({one[:8]})" for one in run_ids}
        shown, end = finding.text.split(" are RUNNING, ")
        assert (finding.level, end) == ("warning", "but no process holds them")
        assert set(shown.split(", ")) == names
        assert finding.repair is not None
        told, marked = finding.repair().split(": ", 1)
        assert (told, set(marked.split(", "))) == ("marked as KILLED", {one[:8] for one in run_ids})
    assert levels() == ["ok"]
    for run_id in run_ids:
        ended = client.get_run(run_id)
        assert (ended.info.status, ended.data.tags["stopped"]) == ("KILLED", "its process is gone")
    assert not list(Path("mlruns/outbox").glob("*"))  # none of them can be resumed
    for run_id in run_ids:
        with reopened_run(run_id):
            pass
        again = client.get_run(run_id)
        assert (again.info.status, "stopped" in again.data.tags) == ("FINISHED", False)


def test_a_run_whose_process_died_before_it_logged_anything(place: Path) -> None:
    client = store.connect()
    run = client.create_run(store.experiment_id(client, "digits"), tags={STARTED_IN: started_in()}, run_name="alone")
    finding = only()
    text = f"alone ({run.info.run_id[:8]}) is RUNNING, but no process holds it"
    assert (finding.level, finding.text) == ("warning", text)
    assert finding.repair is not None
    assert finding.repair() == f"marked as KILLED: {run.info.run_id[:8]}"
    assert client.get_run(run.info.run_id).data.tags["stopped"] == "its process is gone"


@pytest.mark.parametrize("missing", [False, True])
def test_runs_of_other_hosts_and_other_programs_are_left_alone(missing: bool, place: Path) -> None:
    client = store.connect()
    experiment = store.experiment_id(client, "digits")
    run = client.create_run(experiment, tags={} if missing else {STARTED_IN: "other:/project"})
    finding = only()
    assert finding.repair is None
    assert finding.level == ("warning" if missing else "ok")
    assert ("started by another program" if missing else "1 started on other hosts") in finding.text
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_a_training_that_was_really_killed_is_marked_and_goes_on(
    own: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(LENGTH, Path("params.yaml"))
    with training(own) as running:
        alive = only()
        assert alive.text == "runs: 1 in progress here"
        running.kill()
    finding = only()
    assert finding.repair is not None
    waiting = len(list(Path("mlruns/outbox").iterdir()))
    finding.repair()
    assert levels() == ["ok"]
    client = MlflowClient(own.tracking_uri)
    (run,) = client.search_runs(["1"], "attributes.status = 'KILLED'")
    assert "is gone" in run.data.tags["stopped"]
    assert len(list(Path("mlruns/outbox").iterdir())) == waiting == 1
    assert only().text == "no run is left open"

    train.main([])
    assert "resuming from the checkpoint at step" in capsys.readouterr().out
    ended = client.get_run(run.info.run_id)
    assert (ended.info.status, "stopped" in ended.data.tags) == ("FINISHED", False)
    table = pd.read_csv("models/gan/history.csv")
    history = client.get_metric_history(run.info.run_id, "loss_generator")
    assert [point.step for point in history] == table["step"].tolist()
    assert not list(Path("mlruns/outbox").iterdir())
