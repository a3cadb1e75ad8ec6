"""A real ``mlflow server``: it goes away in the middle of a training, which is interrupted and resumed, and comes back."""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from src.tracking import store
from src.tracking.mlflow_recorder import MlflowRecorder
from src.tracking.origin import Origin
from src.tracking.runs import TrainingRun, training_run
from src.training.recorder import Progress
from tests.conftest import work_in
from tests.tracking.conftest import flush, outboxes
from tests.tracking.server import Server

PICTURE = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)


def log(run: TrainingRun, *steps: int) -> None:
    recorder = MlflowRecorder(run, grid_columns=2)
    for step in steps:
        began = time.perf_counter()
        recorder.losses(Progress(step, 30, step * 32, 1.0), {"loss": step / 3, "odd": float("nan")})
        assert time.perf_counter() - began < 0.5  # a call to a server that is gone takes seconds
        time.sleep(0.01)
    recorder.samples(Progress(steps[-1], 30, steps[-1] * 32, 1.0), PICTURE)


@pytest.mark.slow
def test_a_server_goes_away_while_a_training_is_interrupted_and_resumed(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(shutil.copytree(empty_store, tmp_path / "server"))
    project = tmp_path / "project"
    checkpoints = project / "models/checkpoints/key"
    checkpoints.mkdir(parents=True)
    work_in(project, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    server.start()
    try:
        with suppress(KeyboardInterrupt), training_run("digits", Origin.here("first", {"a": 1}, {})) as run:
            (checkpoints / "run.json").write_text(f'{{"run_id": "{run.run_id}"}}', encoding="utf-8")
            log(run, *range(10))
            flush(run)
            server.kill()
            log(run, *range(10, 15))
            raise KeyboardInterrupt
        outage, kept = capfd.readouterr().err.splitlines()
        # The cause depends on where the server was when it died: refused, reset, aborted, closed.
        told = re.match(r"MLflow is not responding \(([^)]{,50})\): training continues, and rows are queued in", outage)
        assert told, outage
        assert "API request" not in told.group(1)
        assert kept.endswith(f" rows for MLflow are in mlruns/outbox/{run.run_id}; the next command sends them")
        (run.folder / "sent").unlink()  # as if a kill had come between each call and its note
        with training_run("digits", Origin.here("first", {}, {}), run_id=run.run_id) as run:
            log(run, *range(12, 20))
            (project / "made.txt").write_text("a", encoding="utf-8")
            run.artifact(project / "made.txt")
            server.start()
            log(run, *range(20, 30))
            flush(run)
            shutil.rmtree(checkpoints)
        client = store.connect()
        read = client.get_run(run.run_id)
        for name in ("loss", "odd"):
            assert [one.step for one in client.get_metric_history(run.run_id, name)] == list(range(30))
        assert (read.info.status, read.data.tags.get("stopped")) == ("FINISHED", None)
        assert len(client.list_artifacts(run.run_id, "images")) == 2 * 4
        assert "made.txt" in [file.path for file in client.list_artifacts(run.run_id)]
        assert outboxes() == []
        assert capfd.readouterr().err.splitlines()[-1] == "MLflow is responding again: all rows are sent"
    finally:
        server.kill()
