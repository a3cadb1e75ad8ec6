"""The train stage as a process that is stopped, killed and started again."""

import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from src.config.edit import write_params
from src.core import interrupts
from src.tracking.mlflow_recorder import MlflowRecorder
from src.tracking.origin import file_md5
from src.training.recorder import Progress
from tests.conftest import Project

LENGTH = {
    "train.kimg": 60,
    "train.log_every_kimg": 1,
    "train.score_every_kimg": 10,
    "train.checkpoint_minutes": 0.1 / 60,
}
TRAIN = (sys.executable, "-m", "src.train")


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    """A project of its own with a longer training; everything before it is done."""
    made = Project(tmp_path / "copy")
    shutil.copytree(project.folder, made.folder)
    shutil.rmtree(made.folder / "mlruns")
    shutil.rmtree(made.folder / "models/gan")
    write_params(LENGTH, made.folder / "params.yaml")
    return made


def checkpoints(project: Project) -> list[Path]:
    return sorted((project.folder / "models/checkpoints").glob("*/*.checkpoint"))


def newest(project: Project) -> int:
    files = checkpoints(project)
    return int(files[-1].name.partition(".")[0]) if files else -1


def wait_for(condition: Callable[[], bool], running: "Popen[str]", seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < limit
        time.sleep(0.02)


@contextmanager
def training(project: Project, *arguments: str, new: int = 2) -> "Iterator[Popen[str]]":
    """A training that has written so many checkpoints; it is killed afterwards, if it still runs."""
    before = newest(project)
    running = project.start(*TRAIN, *arguments)
    try:
        wait_for(lambda: newest(project) >= before + new, running)
        yield running
    finally:
        running.kill()
        running.communicate()


def runs(project: Project) -> list[Any]:
    client = MlflowClient(project.tracking_uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


def outcome(project: Project) -> dict[str, Any]:
    """All that a training leaves."""
    return {path.name: file_md5(path) for path in (project.folder / "models/gan").iterdir()}


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_the_same_in_one_mlflow_run(
    copy: Project, tmp_path: Path
) -> None:
    alone = Project(tmp_path / "alone")
    shutil.copytree(copy.folder, alone.folder)
    alone.run(*TRAIN)

    source = random.Random(0)
    for _ in range(3):
        with training(copy) as running:
            time.sleep(source.uniform(0, 0.3))
            running.kill()
    output = copy.run("dvc", "repro", "train").stdout
    assert "resuming from the checkpoint at step" in output

    assert outcome(copy) == outcome(alone)
    (run,) = runs(copy)
    assert run.info.status == "FINISHED"
    losses = pd.read_csv(copy.folder / "models/gan/history.csv")
    scores = pd.read_csv(copy.folder / "models/gan/scores.csv")
    assert len(losses) == 61
    client = MlflowClient(copy.tracking_uri)
    for table, prefix in ((losses, ""), (scores, "validation.")):
        for name in table.columns.drop(["step", "kimg"]):
            history = client.get_metric_history(run.info.run_id, prefix + name)
            assert [point.step for point in history] == table["step"].tolist(), name
            assert [point.value for point in history] == table[name].tolist(), name
    for name in ("images_per_second", "validation.coverage"):
        assert len(client.get_metric_history(run.info.run_id, name)) == len(losses if "." not in name else scores)
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert len(pictures) == 2 * (len(scores) + 1)  # PNG and WebP
    # What was needed to go on is gone.
    assert not checkpoints(copy)
    assert not list((copy.folder / "mlruns/outbox").iterdir())


@pytest.mark.slow
def test_signals_end_it_and_afresh_is_afresh(copy: Project) -> None:
    with training(copy) as running:
        running.send_signal(signal.SIGTERM)
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors.strip()) == (143, "stopped by SIGTERM")
    assert "stopped by SIGTERM: the last checkpoint is in" in output
    (run,) = runs(copy)
    assert (run.info.status, run.data.tags["stopped"]) == ("KILLED", "SIGTERM")

    with training(copy) as running:
        second = copy.run(*TRAIN, check=False)
        assert second.returncode == 2
        assert second.stderr.startswith("error: another process is training this run; ")
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors.strip()) == (130, "stopped by Ctrl-C")
    assert "resuming from the checkpoint at step" in output

    write_params({"train.lr_generator": 0.004, "train.kimg": 3}, copy.folder / "params.yaml")
    other = copy.run(*TRAIN).stdout
    assert "which differs: train.kimg 60.0 there, 3.0 here; train.lr_generator 0.002 there" in other
    assert "resuming from" not in other
    write_params({"train.lr_generator": 0.002, "train.kimg": 60}, copy.folder / "params.yaml")
    assert checkpoints(copy)

    afresh = copy.run(*TRAIN, "--no-resume").stdout
    assert "going on" not in afresh
    assert [(one.info.status, one.data.tags.get("stopped")) for one in runs(copy)] == [
        ("KILLED", "started afresh"),
        ("FINISHED", None),
        ("FINISHED", None),
    ]


def test_a_training_that_diverges_ends_with_3_and_a_failed_run(copy: Project) -> None:
    hot = {
        "train.optimizer": "sgd",
        "train.loss": "least_squares",
        "train.lr_discriminator": 1.0,
        "train.beta1": 0.9,
        "train.max_rollbacks": 1,
    }
    write_params(hot, copy.folder / "params.yaml")
    result = copy.module("train", check=False)
    assert result.returncode == 3
    assert "rollback at step 0: loss_" in result.stdout
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith("error: loss_")
    assert " of 1875 (not finite now: " in error
    assert error.endswith("; try lower learning rates, a larger train.r1_weight, or train.precision float32")
    assert "Traceback" not in result.stderr
    (run,) = runs(copy)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"].removeprefix("TrainingDiverged: ") in error
    assert "back to step 0 with halved learning rates (1 of 1)" in run.data.tags["event.0000000.rollback"]


def test_a_run_resumes_in_the_same_mlflow_run_and_afresh_is_afresh(
    copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; the slow tests send real signals to real processes."""
    write_params({"train.kimg": 3}, copy.folder / "params.yaml")
    with monkeypatch.context() as patch:
        real = MlflowRecorder.losses

        def stopped(self: MlflowRecorder, progress: Progress, values: Mapping[str, float]) -> None:
            real(self, progress, values)
            if progress.step > 60:
                raise interrupts.Stopped(signal.SIGTERM)

        patch.setattr(MlflowRecorder, "losses", stopped)
        assert copy.module("train", check=False).returncode == 143
    (run,) = runs(copy)
    assert (run.info.status, run.data.tags["stopped"]) == ("KILLED", "SIGTERM")
    assert "resuming from the checkpoint at step" in copy.module("train").stdout
    (run,) = runs(copy)
    assert (run.info.status, "stopped" in run.data.tags) == ("FINISHED", False)
    resumed = outcome(copy)
    assert "going on" not in copy.module("train", "--no-resume").stdout
    assert outcome(copy) == resumed
    assert len(runs(copy)) == 2
