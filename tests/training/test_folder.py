import json
import threading
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.training.folder import TrainingFolder, differences, sweep

ONE = {"train.lr": "0.1", "data.hash": "aa"}
OTHER = {"train.lr": "0.2", "data.hash": "aa", "torch": "2"}


def test_the_same_identity_finds_the_same_folder(tmp_path: Path) -> None:
    first = TrainingFolder(tmp_path, ONE)
    first.checkpoints.save({"number": 1})
    first.run_id = "abc"
    first._lock.release()
    again = TrainingFolder(tmp_path, dict(reversed(ONE.items())))
    assert again.path == first.path
    assert again.run_id == "abc"
    state = again.checkpoints.load()
    assert state is not None
    assert (state["number"], state["notes"]) == (1, {"run_id": ""})
    again.checkpoints.save({"number": 2})
    state = again.checkpoints.load()
    assert state is not None
    assert state["notes"] == {"run_id": "abc"}


def test_another_identity_has_another_folder_and_the_differences_are_named(tmp_path: Path) -> None:
    first = TrainingFolder(tmp_path, ONE)
    second = TrainingFolder(tmp_path, OTHER)
    assert first.path != second.path
    assert second.others() == {}  # nothing was saved there: it is nothing to go on from
    first.checkpoints.save({})
    assert second.checkpoints.load() is None
    assert second.others() == {first.path: ["torch missing there, 2 here", "train.lr 0.1 there, 0.2 here"]}
    (first.path / "identity.json").write_text("{", encoding="utf-8")
    assert "data.hash missing there, aa here" in second.others()[first.path]


def test_only_one_process_has_it(tmp_path: Path) -> None:
    first = TrainingFolder(tmp_path, ONE)
    with pytest.raises(UserError, match=f"another process is training this run; {first.path}"):
        TrainingFolder(tmp_path, ONE)
    first.remove()
    assert not first.path.exists()
    TrainingFolder(tmp_path, ONE)


def test_clear_forgets_all_but_the_identity(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path, ONE)
    folder.checkpoints.save({})
    folder.run_id = "abc"
    folder.samples.mkdir()
    folder.clear()
    assert folder.run_id is None
    assert [path.name for path in folder.path.iterdir()] == ["identity.json"]
    assert json.loads((folder.path / "identity.json").read_text(encoding="utf-8")) == ONE


def test_differences_of_equals_are_none() -> None:
    assert differences(ONE, dict(ONE)) == []
    assert differences({}, ONE) == ["data.hash missing there, aa here", "train.lr missing there, 0.1 here"]


def test_a_training_that_is_done_leaves_nothing_and_who_waited_has_a_lock_of_its_own(tmp_path: Path) -> None:
    first = TrainingFolder(tmp_path, ONE)
    later = threading.Timer(0.3, first.remove)
    later.start()
    second = TrainingFolder(tmp_path, ONE, patience=10)
    later.join()
    assert second.path.is_dir()
    with pytest.raises(UserError, match="another process is training this run"):
        TrainingFolder(tmp_path, ONE)
    second.remove()
    assert list(tmp_path.iterdir()) == []


def test_sweeping_removes_what_has_ended_and_nobody_has(tmp_path: Path) -> None:
    used = TrainingFolder(tmp_path, {"trial": "0"})
    left, going_on = TrainingFolder(tmp_path, {"trial": "1"}), TrainingFolder(tmp_path, {"trial": "2"})
    for folder in (left, going_on):
        folder.checkpoints.save({})
        folder.release()
    (tmp_path / "0123456789ab.lock").touch()  # of a training that has ended before locks were removed
    sweep(tmp_path, lambda identity: identity["trial"] in ("0", "1"))
    kept = {path for folder in (used, going_on) for path in (folder.path, folder.path.with_suffix(".lock"))}
    assert set(tmp_path.iterdir()) == kept
    sweep(tmp_path / "missing", lambda identity: True)
