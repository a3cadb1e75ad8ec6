import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.config.edit import write_params
from src.doctor.pipeline import check_pipeline
from tests.conftest import Project


def test_it_is_as_the_lock_says(own: Project) -> None:
    assert [(one.level, one.text) for one in check_pipeline()] == [("ok", "all outputs are those of dvc.lock")]


def test_a_change_of_code_and_parameters_is_no_damage(own: Project) -> None:
    write_params({"classifier.epochs": 9}, Path("params.yaml"))
    with Path("src/evaluate.py").open("a") as file:
        file.write("# changed\n")
    (finding,) = check_pipeline()
    changes = "train_classifier (classifier.epochs), evaluate (src/evaluate.py, classifier.epochs)"
    assert (finding.level, finding.text) == ("warning", f"out of date: {changes}")
    assert finding.advice == "`dvc repro`"


def test_missing_outputs_come_back_and_changed_ones_stay(own: Project) -> None:
    names = ("samples.safetensors", "history.csv", "card.json")
    samples, history, card = (Path("models/gan") / name for name in names)
    before = card.read_bytes()
    samples.unlink()
    card.unlink()
    history.write_text("mine\n")
    changed, missing = sorted(check_pipeline(), key=lambda one: one.repair is not None)
    assert (missing.level, missing.text) == (
        "problem",
        "train: models/gan/card.json, models/gan/samples.safetensors missing",
    )
    assert (changed.level, changed.text) == ("problem", "train: models/gan/history.csv changed since the stage was run")
    assert "`dvc checkout --force models/gan/history.csv`" in changed.advice
    assert "`dvc commit train`" in changed.advice
    assert missing.repair is not None
    said = missing.repair()
    assert said == "restored models/gan/card.json, models/gan/samples.safetensors from DVC's cache"
    assert card.read_bytes() == before
    assert samples.stat().st_size
    assert history.read_text() == "mine\n"
    assert [one.text for one in check_pipeline()] == [changed.text]


def test_what_is_nowhere_has_to_be_made_again(own: Project) -> None:
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("models/evaluation")
    finding = next(one for one in check_pipeline() if "neither here" in one.text)
    assert (finding.level, finding.repair) == ("warning", None)
    assert finding.text.endswith("neither here nor in DVC's cache: evaluate (6), report (8)")
    assert finding.advice.startswith("`dvc repro` makes them")


def test_a_broken_file_and_a_busy_dvc_are_sentences(own: Project) -> None:
    hold = "from dvc.repo import Repo\nwith Repo().lock: print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (busy,) = check_pipeline()
        other.communicate("\n")
    assert (busy.level, busy.text) == ("warning", "not checked: another DVC command is running")
    Path("dvc.yaml").write_text("stages: [\n")
    (broken,) = check_pipeline()
    assert broken.level == "problem"
    assert broken.text.startswith("dvc status: ")
    assert "dvc.yaml" in broken.text
    assert "Traceback" not in broken.text


def test_a_pipeline_that_never_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (finding,) = check_pipeline()
    assert (finding.level, finding.advice) == ("warning", "`dvc repro`")
