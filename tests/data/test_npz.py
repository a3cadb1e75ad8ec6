import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from src.data.npz import save_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 3, 4, 4), dtype=np.uint8)
LABELS = np.arange(70, dtype=np.int64)


def parts(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (array[first : first + size] for first in range(0, len(array), size))


@pytest.mark.parametrize("size", [1, 32, 70])
def test_parts_come_back_as_one_array(tmp_path: Path, size: int) -> None:
    path = tmp_path / "new" / "some.npz"
    turned = IMAGES.transpose(0, 3, 2, 1)  # not contiguous
    save_npz(path, 70, {"images": parts(IMAGES, size), "turned": parts(turned, size), "labels": parts(LABELS, 70)})
    with np.load(path, allow_pickle=False) as content:
        assert content.files == ["images", "turned", "labels"]
        for name, array in (("images", IMAGES), ("turned", turned), ("labels", LABELS)):
            assert content[name].dtype == array.dtype
            assert (content[name] == array).all()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert [entry.name for entry in path.parent.iterdir()] == ["some.npz"]


def test_the_members_are_those_of_numpy(tmp_path: Path) -> None:
    save_npz(tmp_path / "mine.npz", 70, {"images": parts(IMAGES, 9), "labels": parts(LABELS, 9)})
    np.savez_compressed(tmp_path / "numpy.npz", images=IMAGES, labels=LABELS)
    with zipfile.ZipFile(tmp_path / "mine.npz") as mine, zipfile.ZipFile(tmp_path / "numpy.npz") as numpy:
        assert mine.namelist() == numpy.namelist()
        assert all(mine.read(name) == numpy.read(name) for name in mine.namelist())


@pytest.mark.parametrize("rows", [69, 71])
def test_another_number_of_rows_leaves_nothing(tmp_path: Path, rows: int) -> None:
    with pytest.raises(ValueError, match=f"labels has 70 rows, not {rows}"):
        save_npz(tmp_path / "some.npz", rows, {"labels": parts(LABELS, 8)})
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(b"old")

    def broken() -> Iterator[np.ndarray]:
        yield LABELS[:8]
        assert (tmp_path / f"some.npz.{os.getpid()}.part").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_npz(path, 70, {"labels": broken()})
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.npz"]


def test_an_interrupt_just_after_a_member_was_opened_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, handles = ZipFile.open, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        handles.append(opened(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(ZipFile, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_npz(tmp_path / "some.npz", 1, {"a": [np.zeros((1, 2))]})
    assert not list(tmp_path.iterdir())
    # Left open, it would complain whenever the garbage is collected: in another test, and in the middle of an import there.
    handles.pop().close()
