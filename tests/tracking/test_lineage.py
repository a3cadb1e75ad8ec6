import subprocess
from pathlib import Path

import pytest

from src.tracking import lineage


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for command in ("init -q", "config user.email a@example.com", "config user.name a"):
        subprocess.run(["git", *command.split()], check=True)
    (tmp_path / "code.py").write_text("one\n", encoding="utf-8")
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "first"], check=True)
    return tmp_path


def test_a_clean_tree(repository: Path) -> None:
    tags = lineage.code_tags()
    assert tags["git.dirty"] == "false"
    assert len(tags["git.commit"]) == 40
    assert lineage.working_tree_diff() == ""


def test_changes_and_new_files_are_in_the_diff(repository: Path) -> None:
    (repository / "code.py").write_text("two\n", encoding="utf-8")
    (repository / "new.py").write_text("three\n", encoding="utf-8")
    diff = lineage.working_tree_diff()
    assert "-one" in diff
    assert "+two" in diff
    assert "+three" in diff
    assert lineage.code_tags()["git.dirty"] == "true"
    (repository / "code.py").write_text("one\n", encoding="utf-8")
    (repository / "new.py").unlink()
    (repository / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    assert lineage.working_tree_diff() == ""


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage.code_tags()["git.commit"] == "none"
    assert lineage.code_tags()["git.dirty"] == "unknown"


def test_the_dvc_experiment_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "lively-lynx")
    assert lineage.code_tags()["dvc.exp.name"] == "lively-lynx"


def test_hashes_of_the_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    assert lineage.lock_tags(lock) == {}
    outs = "    - path: data/x.safetensors\n      md5: abc\n    - path: data/card.json\n      md5: def\n"
    lock.write_text(f"stages:\n  prepare:\n    outs:\n{outs}", encoding="utf-8")
    tags = lineage.lock_tags(lock)
    assert tags["dvc.out.data/x.safetensors"] == "abc"
    assert len(tags.pop("dvc.lock.sha256")) == 64
    assert len(tags) == 1


def test_md5(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert lineage.file_md5(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
