"""What register leaves in the registry and in the run; what it does a second time, and with outputs whose run is lost."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from src.config import stages
from src.config.edit import write_params
from src.networks.saved import saved_hash
from src.registry.facts import facts
from src.registry.facts import run_of as version_run
from src.tracking.outputs import GENERATOR_TAG
from tests.conftest import Project, copy_of


def run_of(project: Project) -> Any:
    """The run of the version that holds the project's present generator."""
    digest, client = saved_hash(project.folder / "models/gan", "generator"), project.client()
    (version,) = (
        one for one in client.search_model_versions("name = 'gan-digits'") if one.tags["generator.hash"] == digest
    )
    return client.get_run(str(version_run(version)))


def runs(project: Project) -> list[Any]:
    client = project.client()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_version_knows_where_it_comes_from(project: Project) -> None:
    client = project.client()
    version, run = client.get_model_version("gan-digits", "1"), run_of(project)
    assert len(version.tags) <= 12
    known = facts(client, version)
    for tag in (
        *("git.commit", "git.dirty", "code.sha256", "data.hash", "device", "cpu", "threads"),
        *("requirements.sha256", "version.torch"),
    ):
        assert known[tag] == run.data.tags[tag]
    assert known["registered.git.commit"] == known["git.commit"]
    assert known["gate.decision"] == "promoted"
    assert version.run_id == run.info.run_id
    assert run.data.tags[GENERATOR_TAG] == known["generator.hash"]
    lock = (project.folder / "dvc.lock").read_text(encoding="utf-8")
    assert known["dvc.out.models/gan/generator.safetensors"] in lock


def test_the_second_is_compared_with_the_first(two_versions: Project) -> None:
    client, run = two_versions.client(), run_of(two_versions)
    tags = facts(client, client.get_model_version("gan-digits", "2"))
    assert run.data.tags["registered"] == "gan-digits/2"
    assert tags["gate.champion"] == "gan-digits/1"
    assert tags["gate.decision"] in ("promoted", "kept")
    low, high = (float(end) for end in tags["gate.difference"].partition("[")[2].strip("]").split(","))
    assert low < high
    mlflow.set_tracking_uri(two_versions.tracking_uri)
    report = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/gate/gan-digits-2.md")
    assert report.startswith(f"# Gate: gan-digits/2, {tags['gate.decision']}\n")
    champion = client.get_registered_model("gan-digits").aliases["champion"]
    assert str(champion) == ("2" if tags["gate.decision"] == "promoted" else "1")


def test_again_there_is_nothing_new(two_versions: Project, tmp_path: Path) -> None:
    """Only a look-up: no version, no measurement, no entry in the run."""
    copy = copy_of(two_versions, tmp_path / "copy")
    before = run_of(copy).to_dictionary()
    verdict = facts(copy.client(), copy.client().get_model_version("gan-digits", "2"))["verdict"]
    asked = "import sys, src.register as r; r.main([]); print([m for m in ('sklearn', 'onnx') if m in sys.modules])"
    output = copy.run(sys.executable, "-c", asked).stdout
    assert output == f"nothing new to register: {verdict}\n[]\n"
    assert run_of(copy).to_dictionary() == before
    assert len(copy.client().search_model_versions("name = 'gan-digits'")) == 2


def test_what_the_gate_depends_on_is_decided_again(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    client = copy.client()
    client.set_registered_model_alias("gan-digits", "champion", "1")
    write_params({"register.max_class_drop": 0.5}, copy.folder / "params.yaml")
    assert "nothing new" not in copy.module("register").stdout
    assert "nothing new" in copy.module("register").stdout
    assert len(client.search_model_versions("name = 'gan-digits'")) == 2


def test_a_new_evaluation_is_recorded_once(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    card = copy.folder / "models/evaluation/scorecard.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    content["generated"]["coverage"]["value"] = 0.125
    card.unlink()
    card.write_text(json.dumps(content), encoding="utf-8")
    copy.module("register")
    run = run_of(copy)
    assert run.data.metrics["test.coverage"] == 0.125
    assert len(copy.client().get_metric_history(run.info.run_id, "test.coverage")) == 2
    assert "nothing new" in copy.module("register").stdout
    assert len(copy.client().get_metric_history(run.info.run_id, "test.coverage")) == 2


def test_changed_code_is_refused_until_it_is_allowed(
    two_versions: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    monkeypatch.setattr(stages, "ROOT", copy.folder)
    client = copy.client()
    client.set_registered_model_alias("gan-digits", "champion", "1")
    (copy.folder / "src" / "registry" / "promotion.py").open("a", encoding="utf-8").write("# changed\n")
    client.delete_model_version("gan-digits", "2")  # so that it is registered anew, by the changed code
    assert "it was registered by code that differs from the commit" in copy.module("register").stdout
    tags = facts(client, client.get_model_version("gan-digits", "3"))
    assert (tags["gate.decision"], tags["registered.git.dirty"], tags["git.dirty"]) == ("refused", "true", "false")
    write_params({"register.allow_dirty": True}, copy.folder / "params.yaml")
    copy.module("register")
    tags = facts(client, client.get_model_version("gan-digits", "3"))
    assert tags["gate.decision"] in ("promoted", "kept")
    assert tags["gate.allowed_dirty"] == "true"


def test_other_parameters_are_no_uncommitted_code(two_versions: Project, tmp_path: Path) -> None:
    """As ``dvc exp run -S`` leaves it: params.yaml differs from the commit, and so do files that decide nothing."""
    copy = copy_of(two_versions, tmp_path / "copy")
    client = copy.client()
    client.delete_registered_model_alias("gan-digits", "champion")
    write_params({"train.seed": 4, "train.kimg": 3}, copy.folder / "params.yaml")
    (copy.folder / "README.md").open("a", encoding="utf-8").write("changed\n")
    (copy.folder / "note.txt").write_text("new\n", encoding="utf-8")
    for stage in ("train", "evaluate", "report", "register"):
        output = copy.module(stage).stdout
    assert "gan-digits/3 becomes champion: there was no champion" in output
    tags = facts(client, client.get_model_version("gan-digits", "3"))
    assert (tags["git.dirty"], tags["registered.git.dirty"]) == ("false", "false")
    assert len(tags["git.diff.sha256"]) == 64
    assert run_of(copy).data.params["train.seed"] == "4"
    images = copy.module("sample", "--model", "gan-digits", "--count", "1", "--out", "one.png").stdout
    assert images == "1 images of gan-digits/3 in one.png\n"


def test_code_that_is_committed_after_the_training_counts(
    two_versions: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual order of an experiment: change the code, run, look, commit."""
    copy = copy_of(two_versions, tmp_path / "copy")
    monkeypatch.setattr(stages, "ROOT", copy.folder)
    client = copy.client()
    client.set_registered_model_alias("gan-digits", "champion", "1")
    write_params({"train.seed": 4, "train.kimg": 3}, copy.folder / "params.yaml")
    (copy.folder / "src" / "core" / "pixels.py").open("a", encoding="utf-8").write("# changed\n")
    (copy.folder / "src" / "training" / "engine.py").open("a", encoding="utf-8").write("# changed\n")
    for stage in ("train", "evaluate", "report", "register"):
        output = copy.module(stage).stdout
    assert "it was trained and registered by code that differs from the commit" in output
    copy.run("git", "commit", "-qm", "a part of it", "src/core/pixels.py")
    assert "it was trained and registered by code that differs" in copy.module("register").stdout
    copy.run("git", "commit", "-qam", "all of it")
    assert "differs from the commit" not in copy.module("register").stdout
    tags = facts(client, client.get_model_version("gan-digits", "3"))
    assert tags["git.commit"] == copy.run("git", "rev-parse", "HEAD").stdout.strip()
    assert (tags["git.dirty"], tags["registered.git.dirty"]) == ("false", "false")
    assert "git.diff.sha256" not in tags
    assert tags["gate.decision"] in ("promoted", "kept", "refused")


@pytest.mark.parametrize("lost", ["run", "store"])
def test_a_run_that_the_store_lost_is_recreated_once(two_versions: Project, tmp_path: Path, lost: str) -> None:
    copy, first = copy_of(two_versions, tmp_path / "copy"), run_of(two_versions)
    if lost == "run":
        copy.client().delete_run(first.info.run_id)
    else:
        for file in (copy.folder / "mlruns").glob("mlflow.db*"):
            file.unlink()
        shutil.rmtree(copy.folder / "mlruns/artifacts")
        copy.run("git", "commit", "-q", "--allow-empty", "-m", "a later commit")
    output = copy.module("register").stdout
    assert "no run in the store" in output
    assert "one is re-created from models/gan" in output
    again, client = run_of(copy), copy.client()
    assert again.info.run_id != first.info.run_id
    assert again.data.params == first.data.params
    assert again.info.run_name == first.info.run_name
    assert again.data.tags["git.commit"] == copy.run("git", "rev-parse", "HEAD").stdout.strip()
    for tag in ("git.dirty", "code.sha256", "data.hash", "classifier.hash", "seed", GENERATOR_TAG):
        assert again.data.tags[tag] == first.data.tags[tag]
    # Nothing is claimed of the machine that trained, nor of the time it took.
    assert again.data.tags["machine"] == "unknown"
    claimed = ("cpu", "threads", "device", "version.torch", "process")
    assert not [tag for tag in claimed[:-1] if tag in again.data.tags]
    clock = {name for name in first.data.metrics if name.startswith("images_per_second") or name.endswith("seconds")}
    assert not clock & again.data.metrics.keys()
    for name, value in first.data.metrics.items():
        if name not in clock:
            assert again.data.metrics[name] == value, name
    before = two_versions.client()
    for name in ("validation.score", "loss_generator"):
        told, said = (
            [(point.step, point.value) for point in one.get_metric_history(run, name)]
            for one, run in ((client, again.info.run_id), (before, first.info.run_id))
        )
        assert told == said
    digests = [run.inputs.dataset_inputs[0].dataset.digest for run in (first, again) if run.inputs]
    assert digests[0] == digests[1]
    names = {file.path for file in client.list_artifacts(again.info.run_id)}
    assert {"generator.safetensors", "history.csv", "evaluation", "images", "samples"} <= names
    versions = client.search_model_versions("name = 'gan-digits'")
    assert len(versions) == (2 if lost == "run" else 1)
    copy.module("register")
    assert len(runs(copy)) == (2 if lost == "run" else 1)


def test_a_scorecard_of_another_generator_or_other_data_is_refused(two_versions: Project, tmp_path: Path) -> None:
    copy = copy_of(two_versions, tmp_path / "copy")
    card = copy.folder / "models/evaluation/scorecard.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    card.unlink()
    sentences = {
        "generator_hash": "scorecard.json scores another generator than models/gan; run `dvc repro evaluate`",
        "data_hash": "scorecard.json scores on other images than data/prepared has; run `dvc repro evaluate`",
    }
    for name, sentence in sentences.items():
        card.write_text(json.dumps({**content, name: "0" * 64}), encoding="utf-8")
        result = copy.module("register", check=False)
        assert result.returncode == 2
        assert sentence in result.stderr
    card.write_bytes(bytes(range(256)))
    result = copy.module("register", check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: models/evaluation/scorecard.json is corrupt: it is not UTF-8 text")
