import errno
import hashlib
import io
import os
import pickle
import resource
from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.training.checkpoint import KEPT, Checkpoints


def saved(folder: Path, count: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for number in range(count):
        checkpoints.save({"number": number, "weights": torch.arange(1000.0) + number})
    return checkpoints


def number(checkpoints: Checkpoints) -> int | None:
    state = checkpoints.load()
    return None if state is None else state["number"]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_last_two_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 5)
    assert len(files(tmp_path)) == KEPT == 2
    state = checkpoints.load()
    assert state is not None
    assert state["number"] == 4
    assert torch.equal(state["weights"], torch.arange(1000.0) + 4)
    assert checkpoints
    # Another process continues the numbering.
    assert number(saved(tmp_path, 1)) == 0
    assert len(files(tmp_path)) == 2


def test_notes_are_part_of_each(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"run_id": "abc"}).save({"number": 1})
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["notes"] == {"run_id": "abc"}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "line only", "foreign"])
def test_a_corrupt_file_is_skipped(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = saved(tmp_path, 3)
    newest = files(tmp_path)[-1]
    content = newest.read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:-1],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "line only": content[:65],
        "foreign": b"something else\nand more",
    }
    newest.write_bytes(damaged[damage])
    assert number(checkpoints) == 1
    assert f"{newest} is corrupt; falling back to the previous checkpoint" in capsys.readouterr().err
    assert len(files(tmp_path)) == 1
    checkpoints.save({"number": 7})
    assert number(checkpoints) == 7


def test_without_an_intact_file_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert not Checkpoints(tmp_path / "new")
    checkpoints = saved(tmp_path, 2)
    for file in files(tmp_path):
        file.write_bytes(file.read_bytes()[:-3])
    assert number(checkpoints) is None


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo code ran",)


def test_no_code_is_run_from_a_checkpoint(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The checksum does not help against one who can write files: the loader itself must refuse."""
    buffer = io.BytesIO()
    torch.save({"number": Evil()}, buffer)
    content = buffer.getvalue()
    (tmp_path / "00000000.checkpoint").write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        Checkpoints(tmp_path).load()
    assert "code ran" not in capfd.readouterr().out


def test_a_full_disk_is_an_error_and_earlier_checkpoints_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, 3)
    before = {path.name: path.read_bytes() for path in files(tmp_path)}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"00000003\.checkpoint cannot be written: No space left on device"):
        checkpoints.save({"number": 3})
    assert {path.name: path.read_bytes() for path in files(tmp_path)} == before
    assert number(checkpoints) == 2


def test_a_write_that_fails_midway_leaves_no_checkpoint(tmp_path: Path) -> None:
    """A real limit of the system: the write ends in the middle, as on a full disk."""
    checkpoints = saved(tmp_path, 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (50_000, before[1])
    )  # Python itself ignores the signal that comes with it
    try:
        with pytest.raises(UserError, match="cannot be written: File too large"):
            checkpoints.save({"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in files(tmp_path)] == ["00000000.checkpoint", "00000001.checkpoint"]
    assert number(Checkpoints(tmp_path)) == 1


def step(state: dict[str, object] | None) -> object:
    return None if state is None else state["step"]


@pytest.mark.parametrize("damage", [None, b"", b"0" * 100])
def test_the_last_rollback_point_is_kept_in_addition(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes | None
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number_ in range(6):
        checkpoints.save({"step": number_}, rollback_point=number_ in (0, 2))
    assert [path.name for path in files(tmp_path)] == [
        *("00000002.rollback.checkpoint", "00000004.checkpoint", "00000005.checkpoint"),
    ]
    assert step(checkpoints.load()) == 5
    if damage is None:
        assert step(checkpoints.rollback_point()) == 2
        return
    files(tmp_path)[0].write_bytes(damage)
    assert step(checkpoints.rollback_point()) == 5
    assert "no intact rollback point; falling back to the newest checkpoint" in capsys.readouterr().err
