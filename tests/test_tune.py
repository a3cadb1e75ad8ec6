import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from optuna.trial import TrialState
from torch import nn

from src import paths, tune
from src.datasets import store
from src.datasets.readers import read_raw
from src.datasets.sources import fetch
from src.errors import UserError, run_command
from src.networks.description import save_network
from src.params import load_params
from src.params_edit import write_params
from src.tracking.store import connect
from src.train import source_tags, training_data
from src.training.classifier import fit_classifier
from src.training.loop import TrainingData, fit
from src.training.recorder import SilentRecorder
from src.tuning.study import fingerprint, open_study
from tests.conftest import start, work_in

REPOSITORY = Path(__file__).resolve().parents[1]
PARAMS = """\
data: {dataset: digits}
classifier: {width: 8, feature_size: 32, epochs: 4, batch_size: 64}
model:
  family: mlp          # a comment about the family
  hidden_sizes: [32, 64]
  latent_size: 8
train:
  device: cpu
  batch_size: 32
  # a comment about the rate
  lr_generator: 0.002  # at the rate
  lr_discriminator: 0.002
  score_samples: 200
tune:
  kimg: 1.28
  score_every_kimg: 0.64
  space:
    train.lr_generator: {low: 0.00001, high: 0.01, log: true}
    model.latent_size: {low: 4, high: 16}
"""


@pytest.fixture(scope="session")
def digits_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Params, the prepared digits, a classifier and an empty store, to be copied."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        paths.PARAMS.write_text(PARAMS)
        params = load_params()
        fetch("digits", None, paths.RAW)
        store.split_and_save(read_raw("digits", paths.RAW), params.data, paths.PREPARED)
        data = store.load(paths.PREPARED)
        save_network(
            fit_classifier(params.classifier, data.train, len(data.class_names), data.train.images.device),
            paths.CLASSIFIER,
            "classifier",
        )
        connect()
    return folder


@pytest.fixture
def project(digits_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(digits_project, tmp_path, dirs_exist_ok=True)
    work_in(tmp_path, monkeypatch)
    return tmp_path


def study() -> Any:
    params = load_params()
    data = store.load(paths.PREPARED)
    hashes = source_tags(params, data)
    return open_study(params, fingerprint(params, data.content_hash, hashes["classifier.hash"]), create=False)


def stored_runs() -> tuple[Run, list[Run]]:
    """The only parent, and its children by trial number."""
    client = connect()
    experiment = client.get_experiment_by_name("digits tuning")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = sorted((run for run in runs if run is not parent), key=lambda run: int(run.data.tags["trial"]))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    return parent, children


def judged_by(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_judge(params: Any, data: store.PreparedData) -> TrainingData:
        return replace(training_data(params, data), judge=judge)

    monkeypatch.setattr(tune, "training_data", with_judge)


def test_trials_are_added_to_one_study_and_one_parent_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--trials", "2"])
    output = capsys.readouterr().out
    first, second = study().trials
    assert first.params == {"train.lr_generator": 0.002, "model.latent_size": 8}
    assert "tune 1/2 trials (50%)  trial 0 complete  score" in output
    assert "study 'default', best trials of 2:" in output
    assert "python -m src.tune --trials 0 --apply" in output

    params, data = load_params(), store.load(paths.PREPARED)
    length = {"train.kimg": 1.28, "train.score_every_kimg": 0.64}
    for trial in (first, second):
        alone = fit(params.replace({**trial.params, **length}), training_data(params, data), SilentRecorder())
        assert alone.best["score"] == trial.value

    parent, children = stored_runs()
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.data.metrics["best.score"] for run in children] == [first.value, second.value]
    assert parent.data.metrics["best_score"] == min(first.value, second.value)

    tune.main(["--trials", "1"])
    again, children = stored_runs()
    assert again.info.run_id == parent.info.run_id
    assert again.data.tags["trials"] == "3"
    assert len(children) == len(study().trials) == 3
    assert len({str(trial.params) for trial in study().trials}) == 3


def test_other_base_parameters_are_refused_before_anything_runs(project: Path) -> None:
    tune.main(["--trials", "1"])
    write_params({"train.batch_size": 64})
    with pytest.raises(UserError, match=r"made with train\.batch_size 32 \(now 64\)"):
        tune.main(["--trials", "1"])
    parent, children = stored_runs()
    assert (parent.info.status, len(children)) == ("FINISHED", 1)


def test_values_outside_the_space_are_not_tried(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"model.latent_size": 32})
    tune.main(["--trials", "1"])
    assert "not tried: outside tune.space with model.latent_size 32\n" in capsys.readouterr().out
    assert study().trials[0].params["model.latent_size"] <= 16


def test_apply_changes_the_best_trials_values_and_nothing_else(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wants_slow(generator: nn.Module) -> Mapping[str, float]:
        raise AssertionError

    tune.main(["--trials", "1", "--apply"])
    assert "params.yaml has the values of trial 0, the best one, already" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == PARAMS

    made = study()
    made.enqueue_trial({"train.lr_generator": 3e-5, "model.latent_size": 8})
    judged_by(lambda generator: {"score": 1e-3, "coverage": 1.0}, monkeypatch)
    tune.main(["--trials", "1"])
    capsys.readouterr()
    judged_by(wants_slow, monkeypatch)
    tune.main(["--trials", "0", "--apply"])
    assert capsys.readouterr().out.endswith(
        "params.yaml has the values of trial 1 now:\n  train.lr_generator: 0.002 -> 3e-05\n"
    )
    assert load_params().train.lr_generator == 3e-5
    changed = [
        line
        for line, before in zip(Path("params.yaml").read_text().splitlines(), PARAMS.splitlines(), strict=True)
        if line != before
    ]
    assert len(changed) == 1
    assert changed[0].startswith("  lr_generator: ")
    assert changed[0].endswith("  # at the rate")
    tune.main(["--trials", "0", "--apply"])
    assert "already" in capsys.readouterr().out


def test_apply_needs_a_study_with_a_finished_trial(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no study 'default'"):
        tune.main(["--trials", "0", "--apply"])
    judged_by(lambda generator: {"score": float("nan"), "coverage": 0.0}, monkeypatch)
    with pytest.raises(UserError, match="has no finished trial: there is nothing to apply"):
        tune.main(["--trials", "1", "--apply"])
    parent, (child,) = stored_runs()
    assert (parent.info.status, child.info.status) == ("FINISHED", "KILLED")
    (trial,) = study().trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["reason"].startswith("diverged: ")


@pytest.mark.parametrize("arguments", [["--trials", "0"], ["--trials", "-1", "--apply"], ["--timeout", "0"]])
def test_numbers_that_make_no_sense_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(lambda: tune.main(arguments))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {' '.join(arguments[:2])} is not allowed: it must be at least 1")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [(paths.PREPARED, r"prepared/dataset\.safetensors is missing"), (paths.CLASSIFIER, r"classifier\.json is missing")],
)
def test_missing_inputs_are_named(project: Path, missing: Path, sentence: str) -> None:
    shutil.rmtree(missing)
    with pytest.raises(UserError, match=sentence):
        tune.main(["--trials", "1"])


def test_ctrl_c_ends_the_trial_in_both_stores_and_it_is_tried_again(project: Path) -> None:
    write_params({"tune.kimg": 10_000})
    command = [sys.executable, "-m", "src.tune", "--trials", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    running = start(command, environment)
    try:
        journal, limit = Path("mlruns/optuna.journal"), time.monotonic() + 60
        while not (journal.exists() and 'mlflow_run_id":' in journal.read_text().partition('"pid"')[2]):
            assert running.poll() is None, running.communicate()[1]
            assert time.monotonic() < limit
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGABRT)  # shows where it hangs
        pytest.fail(running.communicate()[1])
    finally:
        running.kill()
    assert (running.returncode, errors.strip()) == (130, "stopped by Ctrl-C")
    assert "study 'default': no trial has ended yet" in output
    failed, waiting = study().trials
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    parent, (child,) = stored_runs()
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")


def test_a_trial_of_a_killed_process_is_marked_and_tried_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Killed(BaseException):
        """Stands for a process that is gone without a word: nothing is told to Optuna."""

    def gone(generator: nn.Module) -> Mapping[str, float]:
        raise Killed

    judged_by(gone, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("optuna.Study.tell", lambda *_, **__: None)
        with pytest.raises(Killed):
            tune.main(["--trials", "1"])
    assert study().trials[0].state == TrialState.RUNNING
    capsys.readouterr()

    judged_by(lambda generator: {"score": 1.0, "coverage": 1.0}, monkeypatch)
    tune.main(["--trials", "1"])
    assert (
        f"trial 0 was left behind by process {os.getpid()}: marked as failed and tried again" in capsys.readouterr().out
    )
    left, tried = study().trials
    assert (left.state, tried.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert left.params == tried.params
    _, children = stored_runs()
    assert [run.info.status for run in children] == ["KILLED", "FINISHED"]
