"""The whole pipeline on the digits set, by DVC, as a user runs it."""

import getpass
import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from src.config.params import load_params
from src.core import paths
from src.data import prepared
from src.networks.saved import saved_hash
from src.tracking.origin import file_md5
from src.training.loop import fit
from src.training.outputs import SampleStore, save_result
from src.training.setup import training_data
from tests.conftest import Project, copy_of


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def only_run(project: Project) -> Any:
    """The run that trained the project's present generator."""
    client, digest = project.client(), saved_hash(project.folder / "models/gan", "generator")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`generator.hash` = '{digest}'")
    return run


def with_lock(project: Project, folder: Path) -> Project:
    """A copy that has dvc.lock in its commit, as experiments start from."""
    copy = copy_of(project, folder)
    copy.run("git", "add", "dvc.lock")
    copy.run("git", "commit", "-q", "-m", "lock")
    return copy


@pytest.fixture(scope="module")
def committed(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with dvc.lock in its commit; tests leave its files as they are."""
    return with_lock(project, tmp_path_factory.mktemp("committed") / "copy")


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


def test_nothing_changed_trains_nothing_and_changes_no_file(committed: Project) -> None:
    output = committed.run("dvc", "repro").stdout
    assert output.count("Running stage") == 1
    assert "> python -m src.register\nnothing new to register: gan-digits/1 becomes champion" in output
    assert committed.run("git", "status", "--porcelain").stdout == ""


def test_mlflow_run_holds_everything(project: Project) -> None:
    run, client = only_run(project), project.client()
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr_generator"] == "0.002"
    assert run.data.params["model.family"] == "mlp"
    assert len(run.data.params) > 40
    tags = run.data.tags
    assert tags["git.dirty"] == "false"
    assert tags["git.commit"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert tags["seed"] == "0"
    assert tags["version.torch"]
    assert tags["registered"] == "gan-digits/1"
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == file_md5(project.folder / "data/prepared/dataset.safetensors")
    history = client.get_metric_history(run.info.run_id, "validation.score")
    scores = pd.read_csv(project.folder / "models/gan/scores.csv")
    assert [point.value for point in history] == scores["score"].tolist()
    assert [point.step for point in history] == scores["step"].tolist()
    scorecard = read_json(project.folder / "models/evaluation/scorecard.json")
    for name, one in scorecard["generated"].items():
        assert run.data.metrics[f"test.{name}"] == one["value"]
    (model_id,) = (output.model_id for output in run.outputs.model_outputs)
    logged = {metric.key: metric for metric in client.get_logged_model(model_id).metrics or []}
    assert logged["test.coverage"].value == scorecard["generated"]["coverage"]["value"]
    assert logged["test.coverage"].dataset_name == "digits test"
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


CLOCKS = ("seconds", "images_per_second", "run_id", "host", "_at")


def test_outputs_hold_no_clock_no_host_and_no_run(project: Project) -> None:
    lock = YAML(typ="safe").load((project.folder / "dvc.lock").read_text(encoding="utf-8"))
    run = only_run(project)
    words = {
        run.info.run_id,
        str(project.folder),
        *(name for name in (platform.node(), getpass.getuser()) if len(name) > 4),
    }
    for stage in lock["stages"].values():
        for out in stage.get("outs", []):
            path = project.folder / out["path"]
            for file in path.rglob("*") if path.is_dir() else [path]:
                content = file.read_bytes()
                assert not [word for word in words if word.encode() in content], file
                if file.suffix in (".csv", ".json"):
                    assert not [clock for clock in CLOCKS if clock.encode() + b'"' in content.replace(b",", b'"')], file


@pytest.mark.slow
def test_a_second_clone_ends_with_the_same_lock_file(committed: Project, tmp_path: Path) -> None:
    """Nothing is taken from a cache: everything is computed again, and the tree is clean afterwards."""
    clone = Project(tmp_path / "clone")
    committed.run("git", "clone", "-q", ".", str(clone.folder))
    output = clone.run("dvc", "repro").stdout
    assert output.count("Running stage") == 7
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_a_picture_changes_and_only_the_report_is_made_again(committed: Project, tmp_path: Path) -> None:
    copy = copy_of(committed, tmp_path / "copy")
    file = copy.folder / "src/sampling/grids.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("TEXT_COLOUR = (32, 32, 32)", "TEXT_COLOUR = (32, 32, 64)"), encoding="utf-8")
    for other in ("src/reports/model_card.py", "src/config/params.py", "requirements.lock"):
        (copy.folder / other).open("a", encoding="utf-8").write("# another sentence\n")
    before = (copy.folder / "models/evaluation/samples.png").read_bytes()
    output = copy.run("dvc", "repro").stdout
    ran = [line for line in output.splitlines() if line.startswith("> ")]
    assert ran == ["> python -m src.report", "> python -m src.register"]
    assert (copy.folder / "models/evaluation/samples.png").read_bytes() != before
    run = only_run(copy)
    assert "nothing new" not in output
    picture = copy.client().download_artifacts(run.info.run_id, "evaluation/samples.png", str(tmp_path))
    assert Path(picture).read_bytes() == (copy.folder / "models/evaluation/samples.png").read_bytes()


def test_tracking_and_pictures_change_no_bit_of_a_training(project: Project, tmp_path: Path) -> None:
    """The same files come from the training alone, without MLflow, without pictures and without a line on the screen."""
    params = load_params(project.folder / "params.yaml")
    with project.here():
        data = prepared.load(paths.PREPARED)
        material = training_data(params, data)
        samples = SampleStore(tmp_path / "samples")
        result = fit(params, material, samples)
        save_result(result, samples, data, tmp_path / "gan")
    made = {file.name: file.read_bytes() for file in (tmp_path / "gan").iterdir()}
    gan = project.folder / "models/gan"
    assert set(made) == {file.name for file in gan.iterdir()} - {"history.png", "samples"}
    for name, content in made.items():
        assert content == (gan / name).read_bytes(), name


def test_push_clone_pull(committed: Project, tmp_path: Path) -> None:
    """What a colleague does: nothing is trained, and the champion is in that clone's own registry."""
    copy, remote = copy_of(committed, tmp_path / "copy"), tmp_path / "remote"
    copy.run("dvc", "remote", "add", "--default", "shared", str(remote))
    copy.run("git", "commit", "-qam", "a remote")
    copy.run("dvc", "push", "-q")
    clone = Project(tmp_path / "clone")
    copy.run("git", "clone", "-q", ".", str(clone.folder))
    clone.run("dvc", "pull", "-q")
    output = clone.run("dvc", "repro").stdout
    assert [line for line in output.splitlines() if line.startswith("> ")] == ["> python -m src.register"]
    assert "one is re-created from models/gan" in output
    assert "gan-digits/1 becomes champion" in output
    assert clone.run("git", "status", "--porcelain").stdout == ""
    run, first = only_run(clone), only_run(committed)
    assert run.data.metrics["test.coverage"] == first.data.metrics["test.coverage"]
    assert run.data.params == first.data.params
    clone.module("sample", "--model", "gan-digits@champion", "--label", "3", "--count", "4", "--out", "three.png")
    copy.module("sample", "--model", "gan-digits@champion", "--label", "3", "--count", "4", "--out", "three.png")
    assert (clone.folder / "three.png").read_bytes() == (copy.folder / "three.png").read_bytes()
    # Without a clone: the generator alone, by its name in dvc.yaml and a tag of git.
    copy.run("git", "tag", "-a", "generator@v1.0.0", "-m", "the first")
    got = Project(tmp_path)
    got.run("dvc", "artifacts", "get", str(copy.folder), "generator", "--rev", "v1.0.0", "--out", "got")
    arguments = ("--model", "got", "--label", "3", "--count", "4", "--out", "three.png")
    got.module("sample", *arguments)
    assert (got.folder / "three.png").read_bytes() == (clone.folder / "three.png").read_bytes()
    shown = "import dvc.api; print(dvc.api.artifacts_show('generator', repo='copy'))"
    assert got.run(sys.executable, "-c", shown).stdout.endswith("'path': 'models/gan'}\n")


@pytest.mark.slow
def test_an_experiment_ends_with_a_champion(committed: Project, tmp_path: Path) -> None:
    """``dvc exp run -S``: a new run and version in the same store, which may become champion; going back restores."""
    copy = copy_of(committed, tmp_path / "copy")
    first = only_run(copy).info.run_id
    copy.client().delete_registered_model_alias("gan-digits", "champion")
    output = copy.run("dvc", "exp", "run", "-n", "slower", "-S", "train.lr_generator=1e-3").stdout
    assert "gan-digits/2 becomes champion" in output
    run = only_run(copy)
    assert run.data.params["train.lr_generator"] == "0.001"
    assert (run.data.tags["dvc.exp.name"], run.data.tags["git.dirty"]) == ("slower", "false")
    assert run.info.run_name == "slower"
    diff = copy.client().download_artifacts(run.info.run_id, "git.diff", str(tmp_path))
    assert "+  lr_generator: 0.001" in Path(diff).read_text(encoding="utf-8")
    assert "0.001" in copy.run("dvc", "params", "diff").stdout
    assert "models/evaluation/metrics.json" in copy.run("dvc", "metrics", "diff").stdout
    assert "slower" in copy.run("dvc", "exp", "show", "--csv").stdout
    assert "gan-digits/2" in copy.module("registry", "list").stdout
    copy.module("sample", "--model", "gan-digits", "--count", "1", "--out", "one.png")
    copy.run("git", "checkout", "-q", "--", ".")
    restored = copy.run("dvc", "repro").stdout
    assert "Stage 'train' is cached" in restored
    assert f"these are the outputs of run {first}, already registered as gan-digits/1: nothing was trained" in restored
    assert only_run(copy).info.run_id == first
    assert "reused.at" in only_run(copy).data.tags
    assert len(copy.client().search_model_versions("name = 'gan-digits'")) == 2


@pytest.mark.slow
def test_experiments_elsewhere_end_in_the_one_store(committed: Project, tmp_path: Path) -> None:
    """``--temp``, the queue, and ``dvc exp apply``: each run is in the project's store under its experiment's name."""
    copy = copy_of(committed, tmp_path / "copy")
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
    assert only_run(copy).info.run_id == runs["elsewhere"].info.run_id
    assert "Running stage 'train'" not in copy.run("dvc", "repro").stdout
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_stages_run_without_dvc(project: Project, tmp_path: Path) -> None:
    """Evaluate, report and register by hand continue the same run; a wrong order says what is missing."""
    copy = copy_of(project, tmp_path / "copy", "evaluation", ".dvc", ".git")
    for stage in ("register", "report"):
        result = copy.module(stage, check=False)
        assert result.returncode == 2
        assert "models/evaluation/scorecard.json is missing" in result.stderr
    copy.module("evaluate")
    copy.module("report")
    for file in (project.folder / "models/evaluation").iterdir():
        assert (copy.folder / "models/evaluation" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_dvc_trains_a_trial_again_with_the_same_score(project: Project, tmp_path: Path) -> None:
    copy = copy_of(project, tmp_path / "copy", "mlruns")
    copy.run("git", "checkout", "--", "mlruns")
    copy.module("tune", "--trials", "2")
    shown = copy.module("tune", "show", "1").stdout.splitlines()
    (score,) = (line.removeprefix("score: ") for line in shown if line.startswith("score: "))
    copy.run("env", *shlex.split(shown[-1]))
    metrics = json.loads((copy.folder / "models/gan/metrics.json").read_text())
    assert metrics["validation"]["score"] == float(score)
