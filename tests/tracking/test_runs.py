import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.core.interrupts import Stopped
from src.tracking import runs, store
from src.tracking.mlflow_recorder import MlflowRecorder
from src.tracking.origin import Origin
from src.tracking.runs import new_run, reopened_run, training_run
from src.tracking.sync import forget
from src.training.recorder import Progress
from tests.tracking.conftest import flush, outboxes

IMAGES = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def _here(place: Path, quick: None) -> None:
    """In a project folder with an empty store; nothing waits long."""


def interrupted(error: BaseException) -> str:
    """The id of a run that an exception ended after step 10, and that may be resumed."""
    with suppress(type(error)), training_run("digits", Origin.here("first", {}, {})) as run:
        folder = Path("models/checkpoints/key")
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(f'{{"run_id": "{run.run_id}"}}', encoding="utf-8")
        run.metrics({"loss": 1.0}, 10)
        raise error
    return run.run_id


def history(run_id: str, name: str = "loss") -> list[int]:
    return [one.step for one in store.connect().get_metric_history(run_id, name)]


def test_a_training_is_logged_by_step() -> None:
    params = {"train.kimg": 1.5, "model.family": "mlp"}
    with training_run("digits", Origin.here("first", params, {"seed": "3"}), parent="above") as run:
        recorder = MlflowRecorder(run, grid_columns=2)
        for step in (10, 20):
            recorder.losses(Progress(step, 20, step * 32, 1.0), {"loss_generator": step / 10})
        recorder.scores(Progress(20, 20, 640, 1.0), {"score": 0.25})
        recorder.samples(Progress(20, 20, 640, 1.0), IMAGES)
        run.dataset("digits", "d41d8cd98f00b204e9800998ecf8427e", "data/x", IMAGES.shape)
    client = store.connect()
    read = client.get_run(run.run_id)
    assert read.info.status == "FINISHED"
    assert read.data.params == {"train.kimg": "1.5", "model.family": "mlp"}
    assert (read.data.tags["seed"], read.data.tags["mlflow.parentRunId"]) == ("3", "above")
    assert read.data.tags["git.dirty"]
    points = [(one.step, one.value) for one in client.get_metric_history(run.run_id, "loss_generator")]
    assert points == [(10, 1), (20, 2)]
    assert (read.data.metrics["validation.score"], read.data.metrics["kimg"]) == (0.25, 0.64)
    assert [file.path for file in client.list_artifacts(run.run_id, "images") if file.path.endswith(".png")]
    assert read.inputs is not None
    dataset = read.inputs.dataset_inputs[0].dataset
    assert (dataset.digest, dataset.source) == ("d41d8cd98f00b204e9800998ecf8427e", '{"uri": "data/x"}')
    assert "uint8" in str(dataset.schema)
    assert not [name for name in read.data.metrics if name.startswith("system/")]  # the tests switch them off
    assert outboxes() == []


@pytest.mark.parametrize(("error", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_an_exception_ends(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), new_run("digits", Origin.here("first", {}, {})) as run:
        raise error
    read = store.connect().get_run(run.run_id)
    assert read.info.status == status
    assert read.data.tags.get("failure") == ("ValueError: bad" if status == "FAILED" else None)
    with reopened_run(run.run_id):
        read = store.connect().get_run(run.run_id)
        assert (read.info.status, {"failure", "stopped"} & read.data.tags.keys()) == ("RUNNING", set())
    assert store.connect().get_run(run.run_id).info.status == "FINISHED"
    assert outboxes() == []


def test_two_processes_may_reopen_a_run() -> None:
    with new_run("digits", Origin.here("study", {}, {})) as run:
        pass
    with reopened_run(run.run_id), reopened_run(run.run_id) as second:
        second.metrics({"loss": 1.0}, 3)
    assert (history(run.run_id), outboxes()) == ([3], [])


@pytest.mark.parametrize(
    ("error", "status", "tags"),
    [
        (Stopped(signal.SIGTERM), "KILLED", {"stopped": "SIGTERM"}),
        (KeyboardInterrupt(), "KILLED", {"stopped": "Ctrl-C"}),
        (ValueError("bad"), "FAILED", {"failure": "ValueError: bad"}),
    ],
)
def test_an_interrupted_training_resumes_in_its_run(error: BaseException, status: str, tags: dict[str, str]) -> None:
    run_id = interrupted(error)
    read = store.connect().get_run(run_id)
    assert read.info.status == status
    assert tags.items() <= read.data.tags.items()
    assert outboxes() == [run_id]
    with training_run("digits", Origin.here("first", {}, {}), run_id=run_id) as same:
        flush(same)
        assert store.connect().get_run(run_id).info.status == "RUNNING"
        for step in (10, 20):
            same.metrics({"loss": 2.0}, step)
    read = store.connect().get_run(run_id)
    assert (same.run_id, read.info.status) == (run_id, "FINISHED")
    assert not tags.keys() & read.data.tags.keys()
    assert history(run_id) == [10, 20]
    Path("models/checkpoints/key/run.json").unlink()
    forget(run_id)
    assert outboxes() == []


@pytest.mark.parametrize(("end", "status", "tag"), [("fail", "FAILED", "failure"), ("kill", "KILLED", "stopped")])
def test_a_training_that_ends_itself(end: str, status: str, tag: str) -> None:
    with suppress(SystemExit), training_run("digits", Origin.here("first", {}, {})) as run:
        getattr(run, end)("x" * 9000)
        raise SystemExit(3)
    read = store.connect().get_run(run.run_id)
    assert (read.info.status, read.data.tags[tag]) == (status, "x" * 5000)
    assert outboxes() == []


def test_a_run_resumes_while_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = interrupted(KeyboardInterrupt())
    with monkeypatch.context() as patch:
        patch.setattr(store, "connect", _away)
        with training_run("digits", Origin.here("first", {}, {}), run_id=run_id) as same:
            for step in (10, 20):
                same.metrics({"loss": 1.0}, step)
        with pytest.raises(UserError, match="cannot be reached"), training_run("digits", Origin.here("second", {}, {})):
            pass
    assert capfd.readouterr().err.splitlines() == [
        f"MLflow is not responding (Connection refused): training continues, and rows are queued in mlruns/outbox/{run_id}",
        f"6 rows for MLflow are in mlruns/outbox/{run_id}; the next command sends them",
    ]
    Path("models/checkpoints/key/run.json").unlink()
    with reopened_run(run_id):
        pass
    read = store.connect().get_run(run_id)
    assert (history(run_id), read.info.status) == ([10, 20], "FINISHED")
    assert "stopped" not in read.data.tags
    assert outboxes() == []


def _away() -> None:
    raise UserError(
        "the MLflow store http://x cannot be reached: API request failed: [Errno 111] Connection refused'))"
    )


def test_a_training_whose_run_was_deleted_resumes_in_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = interrupted(KeyboardInterrupt())
    store.connect().delete_run(run_id)
    with training_run("digits", Origin.here("first", {"train.kimg": 2}, {"seed": "3"}), run_id=run_id) as other:
        for step in (10, 20):
            other.metrics({"loss": 1.0}, step)
    read = store.connect().get_run(other.run_id)
    assert other.run_id != run_id
    assert read.data.tags["restored.from.run"] == run_id
    assert (read.data.params["train.kimg"], read.info.status) == ("2", "FINISHED")
    assert history(other.run_id) == [10, 20]
    assert "a new run replaces it" in capsys.readouterr().out
    assert outboxes() == []


def test_no_module_of_tracking_imports_mlflow_at_once() -> None:
    modules = f"{runs.__name__}, src.tracking.mlflow_recorder, src.tracking.sync"
    code = f"import sys, {modules}; sys.exit('mlflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
