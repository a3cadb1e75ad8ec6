"""A version made again, by the command and from the beginning: the same bits, or differences in numbers."""

from pathlib import Path

import pytest

from src.config.edit import write_params
from src.registry import rebuild
from src.registry.rebuild import Rebuilt
from tests.conftest import Project, copy_of


@pytest.fixture(scope="module")
def dirty(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose version 2 was made by code that differs from its commit: a parameter, and a file that git lacks."""
    made = copy_of(project, tmp_path_factory.mktemp("dirty") / "project")
    write_params({"train.seed": 2, "train.kimg": 3}, made.folder / "params.yaml")
    (made.folder / "src" / "extra.py").write_text("EXTRA = 1\n \n", encoding="utf-8")
    for stage in ("train", "evaluate", "report", "register"):
        made.module(stage)
    made.run("git", "checkout", "--", ".")
    (made.folder / "src" / "extra.py").unlink()
    return made


@pytest.mark.slow
def test_the_same_bits_from_the_commit_and_the_stored_difference(
    dirty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dirty.run("git", "status", "--porcelain").stdout
    versions = dirty.client().search_model_versions("name = 'gan-digits'")
    result = dirty.module("registry", "rebuild", "gan-digits/2", "--keep")
    assert "Equal: the generator is bit-identical and has the same scores." in result.stdout
    assert result.stdout.count("the same\n") == 3
    place = dirty.folder / "models/rebuilds/gan-digits-2"
    assert (place / "src/extra.py").read_text(encoding="utf-8") == "EXTRA = 1\n \n"
    assert dirty.run("git", "status", "--porcelain").stdout == before
    assert len(dirty.client().search_model_versions("name = 'gan-digits'")) == len(versions)

    # Finished stages of an interrupted rebuild are not run again; differences of the weights are printed.
    write_params({"train.seed": 3}, place / "params.yaml")
    (place / rebuild.UNFINISHED).touch()
    made = (place / "data/prepared/dataset.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(rebuild, "_remove", lambda *_: None)
    result = dirty.module("registry", "rebuild", "gan-digits/2", check=False)
    assert result.returncode == 1
    assert made == (place / "data/prepared/dataset.safetensors").stat().st_mtime_ns
    assert "DIFFERENT" in result.stdout
    assert "weights of the generator differ by at most" in result.stdout
    assert "GAN-test accuracy (label agreement): " in result.stdout
    monkeypatch.undo()
    rebuild._remove(dirty.folder, place)
    assert not place.exists()
    assert "rebuilds" not in dirty.run("git", "worktree", "list").stdout


def test_what_is_missing(own: Project) -> None:
    own.client().set_model_version_tag("gan-digits", "1", "git.dirty", "true")
    result = own.module("registry", "rebuild", "gan-digits/1", check=False)
    assert result.returncode == 2
    assert "was made by code that differs from its commit, and run" in result.stderr
    own.client().set_model_version_tag("gan-digits", "1", "git.commit", "0" * 40)
    result = own.module("registry", "rebuild", "gan-digits/1", check=False)
    assert result.returncode == 2
    assert "which this repository does not have; fetch it first" in result.stderr
    assert not (own.folder / "models/rebuilds/gan-digits-1").exists()


def test_a_stage_that_fails_keeps_what_is_done(own: Project) -> None:
    (own.folder / "src" / "prepare.py").write_text("raise SystemExit(2)\n", encoding="utf-8")
    own.run("git", "commit", "-qam", "broken")
    commit = own.run("git", "rev-parse", "HEAD").stdout.strip()
    own.client().set_model_version_tag("gan-digits", "1", "git.commit", commit)
    result = own.module("registry", "rebuild", "gan-digits/1", check=False)
    assert result.returncode == 2
    assert "`dvc repro` failed with status 255, see its message above" in result.stderr
    place = own.folder / "models/rebuilds/gan-digits-1"
    assert (place / "data/raw").is_dir()
    assert (place / rebuild.UNFINISHED).is_file()


def test_recorded_parameters_are_written_and_comments_stay(tmp_path: Path) -> None:
    """Also into the file of an older commit, whose parameters are not those of today."""
    path = tmp_path / "params.yaml"
    path.write_text("data:\n  folder: data/own  # own\ntrain:\n  seed: 0\n  older: 1  # gone\n", encoding="utf-8")
    recorded = {"train.seed": 4, "train.kimg": 3.0, "tune.seed": 9, "data.folder": "elsewhere"}
    rebuild._write_recorded(tmp_path, path, recorded)
    text = path.read_text(encoding="utf-8")
    assert text.split() == [
        *("data:", "folder:", str(tmp_path / "elsewhere"), "#", "own"),
        *("train:", "seed:", "4", "older:", "1", "#", "gone", "kimg:", "3.0"),
    ]


SAME = {"data": ("d", "d"), "classifier": ("c", "c"), "generator": ("g", "g")}


def test_reports() -> None:
    equal = Rebuilt("gan/1", SAME, {"Recall": (0.5, 0.5)}, 0.0, {}, 90.0, None)
    assert equal.equal
    assert rebuild.report(equal).startswith("gan/1 rebuilt in 1.5 minutes\n")
    other = Rebuilt(
        "gan/1",
        {**SAME, "generator": ("g", "h")},
        {"Recall": (0.5, 0.25), "Coverage": (0.9, 0.9)},
        0.125,
        {"cpu": ("EPYC, AVX2", "Xeon, AVX512")},
        90.0,
        None,
    )
    assert not other.equal
    text = rebuild.report(other)
    assert "1 of 2 scores are identical" in text
    assert "Recall: 0.5 registered, 0.25 now (-0.25)" in text
    assert "differ by at most 0.125" in text
    assert "cpu: EPYC, AVX2 then, Xeon, AVX512 now" in text
