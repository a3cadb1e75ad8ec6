import json
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.core.files import replacing, write_json


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
