import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from src.core import paths
from src.core.errors import UserError
from src.core.files import read_about, read_json, read_tensors, read_text, replacing, write_json


def test_a_file_appears_whole_and_its_folder_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with replacing(path) as part:
        part.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_do_not_share_a_part_and_abandoned_ones_are_removed(tmp_path: Path) -> None:
    path, other, killed = (tmp_path / name for name in ("file.txt", "file.txt.1.part", "file.txt.2.part"))
    other.write_text("half")
    killed.write_text("half")
    os.utime(killed, (0, time.time() - 3601))
    with replacing(path) as part:
        assert part.name == f"file.txt.{os.getpid()}.part"
        part.write_text("whole")
    assert sorted(tmp_path.iterdir()) == [path, other]
    assert (path.read_text(), other.read_text()) == ("whole", "half")


def test_a_full_disk_is_the_users_error_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"

    def fill() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=rf"^{path} cannot be written: No space left on device$"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/inside\.json cannot be written: "):
        write_json({}, tmp_path / "file" / "inside.json")


def test_json_is_indented_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json({"b": [1, 2.5], "a": None}, path)
    assert path.read_text().endswith("}\n")
    assert '\n  "b": [' in path.read_text()
    assert list(json.loads(path.read_text()).items()) == [("b", [1, 2.5]), ("a", None)]


def tensors(metadata: dict[str, str] | None = None) -> bytes:
    return save({"images": torch.zeros(2)}, metadata)


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        (read_text, b"\xff", "it is not UTF-8 text"),
        (read_json, b"\xff", "it is not UTF-8 text"),
        (read_json, b"{", "Expecting property name enclosed in double quotes"),
        (read_json, b"[]", "it is not a mapping"),
        (partial(read_json, made_by=None), b"7", "it is not a mapping"),
        (lambda path: read_json(path, None, "a", "b", "c"), b'{"b": 1}', "a, c is missing"),
        (read_tensors, b"", "Error while deserializing header"),
        (read_tensors, tensors()[:-1], "Error while deserializing header"),
        (lambda path: read_tensors(path, None, "labels"), tensors(), "labels is missing"),
        (lambda path: read_about(path, None, "about"), tensors(), "KeyError 'about'"),
        (lambda path: read_about(path, None, "about"), tensors({"about": "[]"}), "TypeError "),
        (lambda path: read_about(path, None, "about", "name"), tensors({"about": "{}"}), "KeyError 'name'"),
    ],
)
def test_a_corrupt_file_of_an_earlier_stage(
    read: Callable[[Path], object], content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage follows from the folder; in another one there is none."""
    monkeypatch.chdir(tmp_path)
    for path, stage in ((paths.GAN / "file", "train"), (Path("elsewhere/file"), None)):
        recreate = f"; recreate it with `dvc repro --force --single-item {stage}`" if stage else ""
        create = f"; create it with `dvc repro {stage}` or `python -m src.{stage}`" if stage else ""
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value) == f"{path} is missing{create}"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path} is corrupt: {reason}")
        assert str(caught.value).endswith(recreate)
        assert "\n" not in str(caught.value)


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('{"a": 1}', encoding="utf-8")
    assert read_text(path) == '{"a": 1}'
    assert read_json(path, "train", "a") == {"a": 1}
    path.write_bytes(tensors({"about": '{"name": "some", "more": 1}'}))
    assert read_tensors(path, "train", "images")["images"].tolist() == [0, 0]
    assert read_about(path, "train", "about", "name") == {"name": "some", "more": 1}
