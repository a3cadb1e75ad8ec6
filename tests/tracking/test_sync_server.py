"""A real ``mlflow server``: it goes away in the middle of a training, and comes back."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from src.tracking import store
from src.tracking.mlflow_recorder import MlflowRecorder
from src.tracking.origin import Origin
from src.tracking.runs import new_run, training_run
from src.training.recorder import Progress
from tests.conftest import work_in
from tests.tracking.conftest import flush, outboxes
from tests.tracking.server import Server

pytestmark = pytest.mark.slow
PICTURE = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)


@pytest.fixture(scope="module")
def started(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests of this module."""
    server = Server(shutil.copytree(empty_store, tmp_path_factory.mktemp("served") / "server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(started: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> Server:
    """The same, running, for the current folder."""
    work_in(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", started.uri)
    if started.process.poll() is not None:  # a test that failed has left it so
        started.start()
    return started


def test_a_server_goes_away_and_comes_back(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with training_run("digits", Origin.here("first", {"a": 1}, {})) as run:
        recorder = MlflowRecorder(run, grid_columns=2)
        recorder.losses(Progress(0, 30, 0, 0.0), {"loss": 0.1, "odd": float("nan")})
        flush(run)
        server.kill()
        for step in range(1, 20):
            began = time.perf_counter()
            recorder.losses(Progress(step, 30, step * 32, 1.0), {"loss": step / 3})
            assert time.perf_counter() - began < 0.5  # a call to a server that is gone takes seconds
            time.sleep(0.02)
        recorder.samples(Progress(19, 30, 19 * 32, 1.0), PICTURE)
        server.start()
        for step in range(20, 30):
            recorder.losses(Progress(step, 30, step * 32, 1.0), {"loss": step / 3})
        flush(run)
    client = store.connect()
    read = client.get_run(run.run_id)
    history = client.get_metric_history(run.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(0, 0.1), *((step, step / 3) for step in range(1, 30))]
    assert len(client.list_artifacts(run.run_id, "images")) == 2
    assert read.info.status == "FINISHED"
    assert outboxes() == []
    first, second = capfd.readouterr().err.splitlines()
    # The cause depends on where the server was when it died: refused, reset, aborted, closed.
    told = re.match(r"MLflow does not answer \(([^)]{,50})\): training continues, rows are in", first)
    assert told, first
    assert "API request" not in told.group(1)
    assert second == "MLflow answers again: all rows are sent"


def test_a_server_stays_away_while_a_run_is_interrupted_and_resumed(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("made").mkdir()
    Path("made/a.txt").write_text("a", encoding="utf-8")
    checkpoints = Path("models/checkpoints/key")
    checkpoints.mkdir(parents=True)
    with suppress(KeyboardInterrupt), training_run("digits", Origin.here("first", {}, {})) as run:
        (checkpoints / "run.json").write_text(f'{{"run_id": "{run.run_id}"}}', encoding="utf-8")
        for step in range(10):
            run.metrics({"loss": step / 3, "odd": float("nan")}, step)
        flush(run)
        server.kill()
        for step in range(10, 15):
            run.metrics({"loss": step / 3, "odd": float("nan")}, step)
        raise KeyboardInterrupt
    assert "the next command sends them" in capfd.readouterr().err
    (run.folder / "sent").unlink()  # as if a kill had come between each call and its note
    began = time.monotonic()
    with training_run("digits", Origin.here("first", {}, {}), run_id=run.run_id) as run:
        for step in range(12, 20):
            run.metrics({"loss": step / 3, "odd": float("nan")}, step)
        run.artifact(Path("made"))
    assert time.monotonic() - began < 10
    assert outboxes() == [run.run_id]
    shutil.rmtree(checkpoints)
    server.start()
    with new_run("digits", Origin.here("next", {}, {})):
        pass
    client = store.connect()
    read = client.get_run(run.run_id)
    for name in ("loss", "odd"):
        assert [one.step for one in client.get_metric_history(run.run_id, name)] == list(range(20))
    assert (read.info.status, read.data.tags.get("stopped")) == ("FINISHED", None)
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["a.txt"]
    assert outboxes() == []
