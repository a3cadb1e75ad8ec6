import hashlib
import subprocess
from pathlib import Path

import pytest

from src.tracking import origin

CODE = "src/core/pixels.py"
"""a file that decides the bits of a training"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for command in ("init -q", "config user.email a@example.com", "config user.name a"):
        subprocess.run(["git", *command.split()], check=True)
    (tmp_path / CODE).parent.mkdir(parents=True)
    (tmp_path / CODE).write_text("one\n", encoding="utf-8")
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "first"], check=True)
    return tmp_path


def test_a_clean_tree(repository: Path) -> None:
    tags = origin.code_tags()
    assert tags["git.dirty"] == "false"
    assert len(tags["git.commit"]) == 40
    assert origin.working_tree_diff() == b""


def test_changes_and_new_files_are_in_the_diff(repository: Path) -> None:
    (repository / CODE).write_text("two\n", encoding="utf-8")
    (repository / "new.py").write_text("three\n", encoding="utf-8")
    diff = origin.working_tree_diff()
    assert b"-one" in diff
    assert b"+two" in diff
    assert b"+three" in diff
    assert origin.code_tags()["git.dirty"] == "true"
    (repository / CODE).write_text("one\n", encoding="utf-8")
    (repository / "new.py").unlink()
    (repository / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    assert origin.working_tree_diff() == b""


def test_the_diff_makes_the_same_files_from_the_commit(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A line of spaces at the end, no newline, bytes that are no text, a name with spaces, a file that is gone."""
    changed = {
        CODE: b"one\n \n",
        "with space.bin": bytes(range(256)),
        "latin.txt": b"\xe9\n",
        "folder/new.py": b"x",
    }
    subprocess.run(["git", "config", "diff.noprefix", "true"], check=True)
    subprocess.run(["git", "config", "color.ui", "always"], check=True)
    (repository / "folder").mkdir()
    for name, content in changed.items():
        (repository / name).write_bytes(content)
    other = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "-q", ".", str(other)], check=True)
    subprocess.run(["git", "apply", "-"], cwd=other, input=origin.working_tree_diff(), check=True)
    assert {name: (other / name).read_bytes() for name in changed} == changed


def test_a_new_file_that_is_too_large_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "LARGEST_NEW_FILE", 10)
    (repository / "large.bin").write_bytes(b"0" * 11)
    (repository / "small.bin").write_bytes(b"0" * 10)
    diff = origin.working_tree_diff()
    assert diff.startswith(b"not kept, too large or too many: large.bin (11 bytes)\n")
    assert b"small.bin" in diff


def test_an_origin(repository: Path) -> None:
    (repository / CODE).write_bytes(b"\xe9\n")
    found = origin.Origin.here("first", {"train.kimg": 2, "tune.space": {}}, {"seed": "3"})
    assert (found.tags["seed"], found.tags["git.dirty"]) == ("3", "true")
    assert found.tags["git.diff.sha256"] == hashlib.sha256(found.diff).hexdigest()
    assert found.tags["version.torch"].startswith("2.")
    assert found.instead_of("abc").tags["restored.from.run"] == "abc"


def test_an_origin_of_what_was_trained_elsewhere_claims_no_machine(repository: Path) -> None:
    tags = origin.Origin.here("first", {}, {"seed": "3"}, trained_here=False).tags
    assert tags["machine"] == "unknown"
    assert not {"cpu", "threads", "version.torch", "version.python"} & tags.keys()
    assert "git.diff.sha256" not in tags


def test_only_code_that_decides_results_makes_a_tree_dirty(repository: Path) -> None:
    for name in ("params.yaml", "README.md", "src/reports/page.py", "src/registry/aliases.py", "tests/test_new.py"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("changed\n", encoding="utf-8")
    assert origin.code_tags()["git.dirty"] == "false"
    (repository / "src" / "registry" / "promotion.py").write_text("changed\n", encoding="utf-8")
    assert origin.code_tags()["git.dirty"] == "false"
    assert origin.code_tags(complete=True)["git.dirty"] == "true"
    (repository / "packages.yaml").write_text("torch: 2\n", encoding="utf-8")
    assert origin.code_tags()["git.dirty"] == "true"


def test_a_family_of_the_users_own_is_code(repository: Path) -> None:
    (repository / "extras").mkdir()
    (repository / "extras/tiny.py").write_text("one\n", encoding="utf-8")
    plain, own = origin.code_tags("mlp"), origin.code_tags("extras.tiny.Tiny")
    assert (plain["git.dirty"], own["git.dirty"]) == ("false", "true")
    assert plain["code.sha256"] == origin.code_tags()["code.sha256"] != own["code.sha256"]
    assert origin.committed_since(own, "extras.tiny.Tiny") is None
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "a family"], check=True)
    head = origin.code_tags("extras.tiny.Tiny")
    assert origin.committed_since(own, "extras.tiny.Tiny") == head["git.commit"]
    (repository / "extras/tiny.py").write_text("two\n", encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "another"], check=True)
    assert origin.committed_since(own, "extras.tiny.Tiny") is None


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin.code_tags()["git.commit"] == "none"
    assert origin.code_tags()["git.dirty"] == "unknown"


def test_the_dvc_experiment_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "lively-lynx")
    assert origin.code_tags()["dvc.exp.name"] == "lively-lynx"


def test_hashes_of_the_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    assert origin.lock_tags(lock) == {}
    outs = "    - path: data/x.safetensors\n      md5: abc\n    - path: data/card.json\n      md5: def\n"
    lock.write_text(f"stages:\n  prepare:\n    outs:\n{outs}", encoding="utf-8")
    tags = origin.lock_tags(lock)
    assert tags["dvc.out.data/x.safetensors"] == "abc"
    assert len(tags.pop("dvc.lock.sha256")) == 64
    assert len(tags) == 1


def test_md5(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert origin.file_md5(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
