"""docs/extending.md is true: its family trains, is registered and drawn from; its lines about saving and loading run."""

import json
import re
import sys
from pathlib import Path

import pytest

from src.config.edit import write_params
from src.config.params import Params
from src.training.identity import identity
from src.training.step.distributed import DistributedContext
from tests.conftest import ROOT, Project, copy_of, work_in

TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FAMILY, SAVING = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def extended(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the family of the page, trained by ``dvc repro``."""
    copy = copy_of(project, tmp_path_factory.mktemp("extended") / "project")
    (copy.folder / "extras" / "tiny.py").write_text(FAMILY, encoding="utf-8")
    write_params({"model.family": "extras.tiny.Tiny", "model.width": 8}, copy.folder / "params.yaml")
    copy.run("git", "add", "-A")
    copy.run("git", "commit", "-qm", "a family of my own")
    copy.run("dvc", "repro")
    return copy


@pytest.mark.slow
def test_a_family_from_outside_is_trained_registered_and_drawn_from(extended: Project) -> None:
    described = json.loads((extended.folder / "models/gan/generator.json").read_text())
    assert described["architecture"] == "extras.tiny.Tiny generator"
    assert set(described["options"]) == {
        *("latent_size", "class_count", "channels", "image_size", "conditioning", "width"),
    }
    card = json.loads((extended.folder / "models/evaluation/scorecard.json").read_text())
    assert card["generated"]["gan_test_accuracy"]["value"] >= 0
    assert len(extended.client().search_model_versions("name = 'gan-digits'")) == 2
    extended.process("sample", "--model", "gan-digits/2", "--count", "4", "--out", "images.png")
    assert (extended.folder / "images.png").stat().st_size > 100
    (extended.folder / "extras" / "tiny.py").rename(extended.folder / "extras" / "hidden.py")
    told = extended.module("doctor", check=False)
    assert "gan-digits/2: its family extras.tiny.Tiny is missing" in told.stdout
    (extended.folder / "extras" / "hidden.py").rename(extended.folder / "extras" / "tiny.py")


def test_dvc_and_an_interrupted_training_notice_its_changes(project: Project, tmp_path: Path) -> None:
    copy = copy_of(project, tmp_path / "copy")
    tiny = copy.folder / "extras" / "tiny.py"
    assert json.loads(copy.run("dvc", "status", "--json").stdout) == {"register": ["always changed"]}
    tiny.write_text(FAMILY, encoding="utf-8")
    changed = json.loads(copy.run("dvc", "status", "--json").stdout)
    assert {"train", "evaluate"} <= set(changed)
    assert "train_classifier" not in changed
    before = identity_there(copy)
    tiny.write_text(FAMILY.replace("nn.ReLU()", "nn.SiLU()"), encoding="utf-8")
    after = identity_there(copy)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"extras/tiny.py"}


def identity_there(copy: Project) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        work_in(copy.folder, patch)
        tags = {"data.hash": "d", "classifier.hash": "c"}
        return identity(Params().replace({"model.family": "extras.tiny.Tiny"}), tags, DistributedContext())


@pytest.mark.slow
def test_the_lines_about_saving_and_loading(extended: Project, tmp_path: Path) -> None:
    copy = copy_of(extended, tmp_path / "copy")
    alike = "from src.networks.weights import content_hash\nprint(content_hash(fresh) == content_hash(generator))"
    assert copy.run(sys.executable, "-c", f"{SAVING}\n{alike}").stdout == "True\n"
    files = [(copy.folder / place / "generator.safetensors").read_bytes() for place in ("models/gan", "copy")]
    assert files[0] == files[1]
