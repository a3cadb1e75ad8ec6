"""The whole pipeline on the digits set, by DVC, as a user runs it."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.tracking.lineage import file_md5
from tests.conftest import Project, copy_of


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def only_run(project: Project) -> Any:
    client = project.client()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    run_id = read_json(project.folder / "models/gan/run.json")["run_id"]
    (run,) = [run for run in runs if run.info.run_id == run_id]
    return run


def with_lock(project: Project, folder: Path) -> Project:
    """A copy that has dvc.lock in its commit, as experiments start from."""
    copy = copy_of(project, folder)
    copy.run("git", "add", "dvc.lock")
    copy.run("git", "commit", "-q", "-m", "lock")
    return copy


def test_scorecard_beside_the_ceiling(project: Project) -> None:
    scorecard = read_json(project.folder / "models/evaluation/scorecard.json")
    assert scorecard["samples"] == 200
    values = {
        source: {name: one["value"] for name, one in scorecard[source].items()}
        for source in ("generated", "real", "floor")
    }
    generated, real = values["generated"], values["real"]
    assert real["gan_test_accuracy"] > 0.9 > generated["gan_test_accuracy"] > 0.25
    for name in ("frechet_classifier_distance", "frechet_joint_distance"):
        assert real[name] < generated[name] < values["floor"][name] * 3
    assert 1 <= generated["classifier_score"] <= real["classifier_score"] <= 10
    assert scorecard["generated"].keys() >= {"gan_train_accuracy", "reconstruction_r2", "copied_share"}
    report = read_json(project.folder / "models/classifier/report.json")
    assert scorecard["classifier_hash"] == report["classifier_hash"]
    assert np.sum(report["confusion"]) == 240
    table = pd.read_csv(project.folder / "models/evaluation/per_class.csv")
    assert len(table) == 10
    assert table["generated_gan_test_recall"].mean() == pytest.approx(generated["gan_test_accuracy"], abs=0.05)


def test_history_and_pictures(project: Project) -> None:
    gan = project.folder / "models/gan"
    losses, scores = pd.read_csv(gan / "history.csv"), pd.read_csv(gan / "scores.csv")
    assert losses["step"].is_monotonic_increasing
    assert losses["step"].iloc[-1] == scores["step"].iloc[-1] == round(6000 / 32)
    assert losses[["loss_discriminator", "loss_generator"]].notna().all(axis=None)
    assert read_json(gan / "metrics.json")["validation"]["score"] == scores["score"].min()
    assert len(list((gan / "samples").glob("*.png"))) == len(scores) + 1
    for picture in (gan / "history.png", *(project.folder / "models/evaluation").glob("*.png")):
        assert min(Image.open(picture).size) > 100


def test_nothing_changed_does_nothing(project: Project) -> None:
    output = project.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date" in output
    assert "Running stage" not in output


def test_mlflow_run_holds_everything(project: Project) -> None:
    run, client = only_run(project), project.client()
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr_generator"] == "0.002"
    assert run.data.params["model.family"] == "mlp"
    assert len(run.data.params) > 40
    tags = run.data.tags
    assert tags["git.dirty"] == "false"
    assert tags["git.commit"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert tags["dvc.out.data/prepared/dataset.safetensors"] == file_md5(
        project.folder / "data/prepared/dataset.safetensors"
    )
    assert tags["seed"] == "0"
    assert tags["version.torch"]
    assert tags["registered"] == "gan-digits/1"
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == tags["dvc.out.data/prepared/dataset.safetensors"]
    history = client.get_metric_history(run.info.run_id, "validation.score")
    scores = pd.read_csv(project.folder / "models/gan/scores.csv")
    assert [point.value for point in history] == scores["score"].tolist()
    assert [point.step for point in history] == scores["step"].tolist()
    scorecard = read_json(project.folder / "models/evaluation/scorecard.json")
    for source, prefix in {"generated": "test.", "real": "test.real.", "floor": "test.floor."}.items():
        for name, one in scorecard[source].items():
            assert run.data.metrics[prefix + name] == one["value"]
    assert "| ↑ Coverage |" in tags["mlflow.note.content"]
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"generator.safetensors", "history.csv", "evaluation", "images", "samples", "dvc.lock"} <= names
    evaluation = {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")}
    names = {path.name for path in (project.folder / "models/evaluation").iterdir()}
    assert {path.removeprefix("evaluation/") for path in evaluation} == names
    assert names >= {"training.gif", "best_and_worst.png", "nearest_training.png", "interpolation.png", "scorecard.md"}


def test_registered_once_as_champion(project: Project) -> None:
    client = project.client()
    model = client.get_registered_model("gan-digits")
    assert str(model.aliases["champion"]) == "1"
    assert "gan-digits/1 is the champion already" in project.module("register").stdout
    assert len(client.search_model_versions("name = 'gan-digits'")) == 1


def test_dvc_commands_answer(project: Project) -> None:
    metrics = project.run("dvc", "metrics", "show", "--json").stdout
    assert (
        json.loads(metrics)[""]["data"]["models/evaluation/metrics.json"]["data"]["generated"]["gan_test_accuracy"]
        > 0.25
    )
    assert "train_classifier" in project.run("dvc", "dag").stdout
    plots = project.run("dvc", "plots", "show", "-q")
    page = (project.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "loss_discriminator" in page, plots.stderr


@pytest.mark.slow
def test_experiment_with_another_learning_rate(project: Project, tmp_path: Path) -> None:
    """``dvc exp run -S``: a new run and version in the same store; going back restores the first outputs."""
    copy = with_lock(project, tmp_path / "copy")
    before = read_json(copy.folder / "models/gan/run.json")["run_id"]
    copy.run("dvc", "exp", "run", "-n", "slower", "-S", "train.lr_generator=1e-4")
    run = only_run(copy)
    assert run.data.params["train.lr_generator"] == "0.0001"
    assert run.data.tags["dvc.exp.name"] == "slower"
    assert run.data.tags["git.dirty"] == "true"
    diff = copy.client().download_artifacts(run.info.run_id, "git.diff", str(tmp_path))
    assert "+  lr_generator: 0.0001" in Path(diff).read_text(encoding="utf-8")
    assert "0.0001" in copy.run("dvc", "params", "diff").stdout
    assert "models/evaluation/metrics.json" in copy.run("dvc", "metrics", "diff").stdout
    assert "slower" in copy.run("dvc", "exp", "show", "--csv").stdout
    listing = copy.module("registry", "list").stdout
    assert "gan-digits/2" in listing
    assert run.info.run_name == "slower"
    copy.run("git", "checkout", "-q", "--", ".")
    restored = copy.run("dvc", "repro").stdout
    assert "Stage 'train' is cached" in restored
    assert (
        f"these are the outputs of run {before}, registered before as gan-digits/1: nothing was trained anew"
        in restored
    )
    assert only_run(copy).info.run_id == before
    assert "reused.at" in only_run(copy).data.tags
    assert len(copy.client().search_model_versions("name = 'gan-digits'")) == 2


@pytest.mark.slow
def test_experiments_elsewhere_end_in_the_one_store(project: Project, tmp_path: Path) -> None:
    """``--temp``, the queue, and ``dvc exp apply``: each run is in the project's store under its experiment's name."""
    copy = with_lock(project, tmp_path / "copy")
    copy.run("dvc", "exp", "run", "--temp", "-n", "elsewhere", "-S", "train.kimg=1")
    copy.run("dvc", "exp", "run", "--queue", "-n", "later", "-S", "train.kimg=2")
    copy.run("dvc", "exp", "run", "--run-all")
    client = copy.client()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {runs[name].data.params["train.kimg"] for name in ("elsewhere", "later")} == {"1.0", "2.0"}
    for name in ("elsewhere", "later"):
        assert (runs[name].data.tags["dvc.exp.name"], runs[name].info.status) == (name, "FINISHED")
        assert runs[name].data.tags["registered"].startswith("gan-digits/")
    copy.run("dvc", "exp", "apply", "elsewhere")
    assert read_json(copy.folder / "models/gan/run.json")["run_id"] == runs["elsewhere"].info.run_id
    assert "up to date" in copy.run("dvc", "repro").stdout
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_stages_run_without_dvc(project: Project, tmp_path: Path) -> None:
    """Evaluate and register by hand continue the same run; a wrong order says what is missing."""
    copy = copy_of(project, tmp_path / "copy", "evaluation", ".dvc", ".git")
    result = copy.module("register", check=False)
    assert result.returncode == 2
    assert "models/evaluation/scorecard.json is missing" in result.stderr
    assert "Traceback" not in result.stderr
    copy.module("evaluate")
    scorecards = [read_json(one.folder / "models/evaluation/scorecard.json") for one in (project, copy)]
    assert scorecards[0] == scorecards[1]


def test_dvc_trains_a_trial_again_with_the_same_score(project: Project, tmp_path: Path) -> None:
    copy = copy_of(project, tmp_path / "copy", "mlruns")
    copy.run("git", "checkout", "--", "mlruns")
    copy.module("tune", "--trials", "2")
    shown = copy.module("tune", "show", "1").stdout.splitlines()
    (score,) = (line.removeprefix("score: ") for line in shown if line.startswith("score: "))
    copy.run(*shlex.split(shown[-1]))
    metrics = json.loads((copy.folder / "models/gan/metrics.json").read_text())
    assert metrics["validation"]["score"] == float(score)
