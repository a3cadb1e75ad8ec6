import json
from pathlib import Path

import pytest
import torch

from src.errors import UserError
from src.params import Params
from src.tracking import store
from src.tracking.recorder import MlflowRecorder
from src.tracking.runs import continued_run, new_run, run_id_of
from src.training.recorder import Progress
from tests.conftest import work_in


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)


def test_a_training_is_recorded_by_step() -> None:
    with new_run("digits", "first", {"train.kimg": 1.5, "model.family": "mlp"}, {"seed": "3"}) as run:
        recorder = MlflowRecorder(run, grid_columns=2)
        for step in (10, 20):
            recorder.losses(Progress(step, 20, step * 32, 1.0), {"loss_generator": step / 10})
        recorder.scores(Progress(20, 20, 640, 1.0), {"score": 0.25})
        recorder.samples(Progress(20, 20, 640, 1.0), torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
        run.dataset("digits", "d41d8cd98f00b204e9800998ecf8427e", "data/x", torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    client = store.connect()
    read = client.get_run(run.run_id)
    assert read.info.status == "FINISHED"
    assert read.data.params == {"train.kimg": "1.5", "model.family": "mlp"}
    assert read.data.tags["seed"] == "3"
    assert [(one.step, one.value) for one in client.get_metric_history(run.run_id, "loss_generator")] == [
        (10, 1),
        (20, 2),
    ]
    assert read.data.metrics["validation.score"] == 0.25
    assert read.data.metrics["kimg"] == 0.64
    assert [file.path for file in client.list_artifacts(run.run_id, "images") if file.path.endswith(".png")]
    assert read.inputs is not None
    assert read.inputs.dataset_inputs[0].dataset.digest == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(("error", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_an_interrupted_run_says_how_it_ended(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), new_run("digits", "first", {}, {}) as run:
        raise error
    read = store.connect().get_run(run.run_id)
    assert read.info.status == status
    assert read.data.tags.get("failure") == ("ValueError: bad" if status == "FAILED" else None)


def test_a_run_is_continued() -> None:
    with new_run("digits", "first", {}, {}) as run:
        pass
    with continued_run(run.run_id, "digits", Params()) as same:
        same.metrics({"test.agreement": 0.5})
    assert same.run_id == run.run_id
    assert store.connect().get_run(run.run_id).data.metrics["test.agreement"] == 0.5


def test_a_run_that_the_store_lost_is_replaced_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with continued_run("0" * 32, "digits", Params()) as run:
        pass
    read = store.connect().get_run(run.run_id)
    assert read.data.tags["restored.from.run"] == "0" * 32
    assert read.data.params["train.optimizer"] == "adam"
    assert "a new run takes its place" in capsys.readouterr().out


def test_run_id_of(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(UserError, match=r"run\.json is missing"):
        run_id_of(path)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json is corrupt"):
        run_id_of(path)
    path.write_text(json.dumps({"run_id": "abc"}), encoding="utf-8")
    assert run_id_of(path) == "abc"
