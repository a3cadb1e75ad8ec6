"""What decides the bits of each stage: dvc.yaml and packages.yaml list what the imports say, and nothing else decides."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src import stages as command
from src.config import stages
from src.config.params import Params, Section, load_params
from src.core.errors import UserError
from src.data.prepared import SPLIT_PARAMS
from tests.conftest import ROOT, SAMPLE, Project, copy_of

DOCUMENT: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, Any] = DOCUMENT["stages"]
HOW = "run `python -m src.stages --write`, and look at what has changed"


@pytest.mark.parametrize("name", stages.PARAMETERS)
def test_dvc_yaml_lists_what_the_imports_say(name: str) -> None:
    entry, names = STAGES[name], list(Params().flat())
    assert entry["deps"] == stages.written_dependencies(name, entry["deps"]), HOW
    assert entry["params"] == stages.written_parameters(name, names), HOW
    assert entry["cmd"] == f"python -m src.{name}"


def test_packages_yaml_is_that_of_the_lock_file() -> None:
    assert (ROOT / stages.PACKAGES).read_text(encoding="utf-8") == stages.written_packages(ROOT), HOW


def test_stages_depend_on_each_others_outputs_alone() -> None:
    made = {
        path if isinstance(path, str) else next(iter(path))
        for entry in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for path in entry.get(kind, [])
    }
    code = {name for stage in stages.PARAMETERS for name in stages.code(stage)}
    needed = {path for entry in STAGES.values() for path in entry["deps"]}
    assert needed <= made | code | {"extras", "${data.folder}"}
    assert set(STAGES) == {*stages.PARAMETERS, "register"}


def test_register_asks_each_time_and_leaves_nothing() -> None:
    assert STAGES["register"]["always_changed"] is True
    assert not {"outs", "metrics", "plots", "params"} & STAGES["register"].keys()


def test_the_closure_of_train() -> None:
    code = set(stages.code("train"))
    # What is loaded by its name counts as imported.
    assert {f"src/networks/families/{name}.py" for name in ("mlp", "dcgan", "resnet", "progressive")} <= code
    assert {
        "src/train.py",
        "src/training/loop.py",
        "src/evaluation/metrics/quick/frechet.py",
        "src/core/files.py",
    } <= code
    assert not [name for name in code if name.startswith(("src/tracking/", "src/reports/", "src/tuning/"))]
    assert not code & {
        "src/config/params.py",
        "src/core/errors.py",
        "src/reports/scorecard_text.py",
        "src/evaluate.py",
        "src/report.py",
    }
    assert "src/tracking/live.py" in stages.code("train", complete=True)
    assert stages.packages("train") == ("numpy", "pandas", "safetensors", "scipy", "torch")
    assert "matplotlib" in stages.packages("report")


def test_a_change_of_a_picture_or_a_sentence_concerns_the_report_alone() -> None:
    for name in ("src/reports/plots.py", "src/sampling/grids.py", "src/reports/scorecard_text.py"):
        assert [stage for stage in stages.PARAMETERS if name in stages.code(stage)] == ["report"]
    for name in (
        "src/reports/model_card.py",
        "src/registry/versions.py",
        "src/config/params.py",
        "src/doctor/__main__.py",
    ):
        assert not [stage for stage in stages.PARAMETERS if name in stages.code(stage)]


def test_packages_of_the_project_hold_no_code_of_their_own() -> None:
    """Else ``__init__.py`` would be a dependency, too."""
    for file in (ROOT / "src").rglob("__init__.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr) for node in body), file


@pytest.fixture
def accessed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The dotted names of the parameters that are read as attributes, or handed over as a mapping."""
    names: set[str] = set()
    sections = {type(getattr(Params(), field)): model.alias or field for field, model in Params.model_fields.items()}

    def read(self: Section, name: str) -> Any:
        section = sections.get(type(self))
        if section and name in type(self).model_fields:
            names.add(f"{section}.{name}")
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Section, "__getattribute__", read)
    return names


def test_each_stage_reads_only_the_parameters_that_it_lists(
    project: Project, tmp_path: Path, accessed: set[str]
) -> None:
    copy, known = copy_of(project, tmp_path / "copy", ".dvc", ".git"), list(Params().flat())
    # Read while the file is checked, or for what is shown and saved on the way.
    checked = {
        "train.patience",
        "train.score_every_kimg",
        "train.kimg",
        "train.loss",
        "train.gp_weight",
        "model.spectral_norm",
    }
    checked |= {"train.label_smoothing", "train.augment_target", "train.augment", "tune.space"}
    # Compared with the data card, to refuse data that were prepared with others.
    checked |= {"data.dataset", *(f"data.{name}" for name in SPLIT_PARAMS)}
    neutral = {"train": stages.neutral_parameters()}
    for stage in stages.PARAMETERS:
        accessed.clear()
        copy.module(stage)
        beyond = accessed - set(stages.parameters(stage, known)) - neutral.get(stage, set()) - checked
        assert not beyond, stage
        if stage in ("download", "prepare"):
            idle = set(stages.parameters(stage, known)) - accessed
            assert idle <= {"data.channels", "data.clusters", "data.folder", "data.image_size", "data.split_seed"}


def test_the_sections_listed_whole_are_those_that_are_passed_on_whole() -> None:
    known = list(Params().flat())
    assert set(stages.parameters("train", known)) == {
        name for name in known if name.startswith(("model.", "train."))
    } - {"train.checkpoint_minutes", "train.max_rollbacks"} | {"evaluate.nearest_k"}


def test_the_hash_changes_with_the_code_and_nothing_else(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(project, tmp_path / "copy", ".dvc", ".git", "mlruns", "models")
    monkeypatch.setattr(stages, "ROOT", copy.folder)
    before = stages.training_code_hash()
    (copy.folder / "src/reports/plots.py").open("a", encoding="utf-8").write("# another colour\n")
    (copy.folder / "src/reports/model_card.py").open("a", encoding="utf-8").write("# another sentence\n")
    assert stages.training_code_hash() == before
    assert set(stages.code_hashes("train")) == set(stages.code("train"))
    (copy.folder / "src/core/pixels.py").open("a", encoding="utf-8").write("# changed\n")
    assert stages.training_code_hash() != before


def test_write_brings_a_file_in_line_and_keeps_its_comments(tmp_path: Path) -> None:
    for name in (stages.PIPELINE, stages.REQUIREMENTS):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    text = (tmp_path / stages.PIPELINE).read_text(encoding="utf-8")
    (tmp_path / stages.PIPELINE).write_text(text.replace("      - src/core/pixels.py\n", ""), encoding="utf-8")
    stages.write(tmp_path)
    assert (tmp_path / stages.PIPELINE).read_text(encoding="utf-8") == text
    assert (tmp_path / stages.PACKAGES).read_text(encoding="utf-8") == (ROOT / stages.PACKAGES).read_text(
        encoding="utf-8"
    )


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    command.main([])
    assert "  code        src/training/loop.py" in capsys.readouterr().out


def test_declared_parameters_exist() -> None:
    known = load_params(ROOT / "params.yaml").flat()
    assert {name for stage in stages.PARAMETERS for name in stages.parameters(stage, known)} <= known.keys()
    patterns = {name for names in stages.PARAMETERS.values() for name in names if not name.endswith(".*")}
    assert patterns <= known.keys()


def test_a_missing_parameter_is_an_error_and_never_a_default(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = SAMPLE.read_text(encoding="utf-8")
    path.write_text("\n".join(line for line in text.splitlines() if "penalty_interval" not in line), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"a parameter is missing: train\.penalty_interval; `python -m src.params --write`"
    ):
        load_params(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"\d+ parameters are missing: data\.dataset, data\.folder"):
        load_params(path)


def test_a_changed_line_of_code_changes_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("room/a.py", "room/deep/b.py", "room/notes.txt", "alone.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name, encoding="utf-8")
    places = [Path("room"), Path("alone.py")]

    def hashes() -> dict[str, str]:
        return {name: one for name, one in stages.code_hashes("report", places).items() if not name.startswith("src/")}

    before = hashes()
    assert list(before) == ["alone.py", "room/a.py", "room/deep/b.py"]
    Path("room/deep/b.py").write_text("x = 1", encoding="utf-8")
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == {"room/deep/b.py"}
