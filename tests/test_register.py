"""The stage as a process: what it leaves in the registry, in the run and in the file; and what it does a second time."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from src.params_edit import write_params
from tests.conftest import Project, copy_of


def registration(project: Project) -> Any:
    return json.loads((project.folder / "models/registration.json").read_text(encoding="utf-8"))


def test_a_version_knows_where_it_comes_from(project: Project) -> None:
    client = project.client()
    version = client.get_model_version("gan-digits", "1")
    run = client.get_run(registration(project)["run_id"])
    for tag in (
        "git.commit",
        "git.dirty",
        "data.hash",
        "device",
        "cpu",
        "threads",
        "requirements.sha256",
        "version.torch",
    ):
        assert version.tags[tag] == run.data.tags[tag]
    assert version.tags["registered.git.commit"] == version.tags["git.commit"]
    assert version.tags["gate.decision"] == "promoted"
    assert version.tags["run.id"] == run.info.run_id
    lock = (project.folder / "dvc.lock").read_text(encoding="utf-8")
    assert version.tags["dvc.out.models/gan/generator.safetensors"] in lock


def test_the_second_is_compared_with_the_first(two_versions: Project) -> None:
    client, made = two_versions.client(), registration(two_versions)
    assert made["version"] == 2
    tags = client.get_model_version("gan-digits", "2").tags
    assert tags["gate.champion"] == "gan-digits/1"
    assert tags["gate.decision"] in ("promoted", "kept")
    assert tags["verdict"] == made["verdict"]
    low, high = (float(end) for end in tags["gate.difference"].partition("[")[2].strip("]").split(","))
    assert low < high
    mlflow.set_tracking_uri(two_versions.tracking_uri)
    report = mlflow.artifacts.load_text(f"runs:/{made['run_id']}/gate/gan-digits-2.md")
    assert report.startswith(f"# Gate: gan-digits/2, {tags['gate.decision']}\n")
    champion = client.get_registered_model("gan-digits").aliases["champion"]
    assert str(champion) == ("2" if tags["gate.decision"] == "promoted" else "1")


def test_again_makes_no_second_version(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    before = registration(copy)
    result = copy.module("register")
    assert "registered before as gan-digits/2: nothing was trained anew" in result.stdout
    after, client = registration(copy), copy.client()
    assert {key: after[key] for key in ("version", "run_id")} == {key: before[key] for key in ("version", "run_id")}
    assert len(client.search_model_versions("name = 'gan-digits'")) == 2
    run = client.get_run(after["run_id"])
    assert run.info.status == "FINISHED"
    assert "reused.at" in run.data.tags


def test_a_changed_tree_is_refused_until_it_is_allowed(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    client = copy.client()
    client.set_registered_model_alias("gan-digits", "champion", "1")
    (copy.folder / "src" / "paths.py").open("a", encoding="utf-8").write("# changed\n")
    (copy.folder / "note.txt").write_text("new\n", encoding="utf-8")
    client.delete_model_version("gan-digits", "2")  # so that it is registered anew, by the changed tree
    assert "it was registered by files that differ from the commit" in copy.module("register").stdout
    tags = client.get_model_version("gan-digits", "3").tags
    assert (tags["gate.decision"], tags["registered.git.dirty"], tags["git.dirty"]) == ("refused", "true", "false")
    copy.run("sed", "-i", "s/allow_dirty: false/allow_dirty: true/", "params.yaml")
    copy.module("register")
    tags = client.get_model_version("gan-digits", "3").tags
    assert tags["gate.decision"] in ("promoted", "kept")
    assert tags["gate.allowed_dirty"] == "true"


def test_code_that_is_committed_after_the_training_counts(two_versions: Project, tmp_path: Path) -> None:
    """The usual order of an experiment: change a parameter, run, look, commit."""
    copy = copy_of(two_versions, tmp_path / "copy")
    client = copy.client()
    client.set_registered_model_alias("gan-digits", "champion", "1")
    write_params({"train.seed": 4, "train.kimg": 3}, copy.folder / "params.yaml")
    (copy.folder / "src" / "note.py").write_text("NOTE = 1\n", encoding="utf-8")
    for stage in ("train", "evaluate", "register"):
        output = copy.module(stage).stdout
    assert "it was trained and registered by files that differ from the commit" in output
    copy.run("git", "add", "params.yaml")
    copy.run("git", "commit", "-qm", "a part of it")
    assert "it was trained and registered by files that differ" in copy.module("register").stdout
    copy.run("git", "add", "src")
    copy.run("git", "commit", "-qm", "all of it")
    output = copy.module("register").stdout
    assert "differ from the commit" not in output
    tags = client.get_model_version("gan-digits", "3").tags
    assert tags["git.commit"] == copy.run("git", "rev-parse", "HEAD").stdout.strip()
    assert (tags["git.dirty"], tags["registered.git.dirty"]) == ("false", "false")
    assert "git.diff.sha256" not in tags
    assert tags["gate.decision"] in ("promoted", "kept", "refused")


@pytest.mark.parametrize("lost", ["run", "store"])
def test_a_run_that_the_store_lost_is_told_anew_once(two_versions: Project, tmp_path: Path, lost: str) -> None:
    copy = copy_of(two_versions, tmp_path / "copy", *(["mlflow.db*"] if lost == "store" else []))
    first = two_versions.client().get_run(registration(copy)["run_id"])
    client = copy.client()
    if lost == "run":
        client.delete_run(first.info.run_id)
    else:
        copy.run("git", "commit", "-q", "--allow-empty", "-m", "a later commit")
    result = copy.module("register")
    assert f"run {first.info.run_id} is not in the store" in result.stdout
    again = client.get_run(registration(copy)["run_id"])
    assert again.data.tags["restored.from.run"] == first.info.run_id
    assert again.data.params == first.data.params
    assert again.info.run_name == first.info.run_name
    for tag in ("git.commit", "git.dirty", "data.hash", "seed", "device"):
        assert again.data.tags[tag] == first.data.tags[tag]
    assert first.data.metrics.items() <= again.data.metrics.items()
    for name in ("validation.score", "loss_generator"):
        told, said = (
            [(point.step, point.value) for point in one.client().get_metric_history(run, name)]
            for one, run in ((copy, again.info.run_id), (two_versions, first.info.run_id))
        )
        assert told == said
    digests = [run.inputs.dataset_inputs[0].dataset.digest for run in (first, again) if run.inputs]
    assert digests[0] == digests[1]
    names = {file.path for file in client.list_artifacts(again.info.run_id)}
    assert {"generator.safetensors", "history.csv", "evaluation", "images", "samples"} <= names
    versions = client.search_model_versions("name = 'gan-digits'")
    assert len(versions) == (2 if lost == "run" else 1)
    newest = max(versions, key=lambda one: int(one.version))
    assert newest.tags["run.id"] == again.info.run_id
    copy.module("register")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == (2 if lost == "run" else 1)


def test_a_scorecard_of_another_generator_is_refused(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    card = copy.folder / "models/evaluation/scorecard.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    card.unlink()
    card.write_text(json.dumps({**content, "generator_hash": "0" * 64}), encoding="utf-8")
    result = copy.module("register", check=False)
    assert result.returncode == 2
    assert "scorecard.json scores another generator than models/gan; run `dvc repro evaluate`" in result.stderr
