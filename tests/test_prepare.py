import json
from pathlib import Path

import pytest

from src import download, prepare
from src.config.edit import write_params
from src.core.errors import UserError
from src.data.prepared import load
from tests.conftest import Project, sample_params


def test_the_digits_are_split_and_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample_params(tmp_path, {"data.dataset": "digits"})
    download.main([])
    prepare.main([])
    prepared = Path("data/prepared")
    assert sorted(path.name for path in prepared.iterdir()) == ["card.json", "dataset.safetensors"]
    card = json.loads((prepared / "card.json").read_text())
    assert card["images"] == {"train": 1198, "validation": 240, "test": 359}
    assert len(load(prepared).train) == 1198

    first = {path.name: path.read_bytes() for path in prepared.iterdir()}
    prepare.main([])
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == first

    write_params({"data.dataset": "fashion-mnist"})
    with pytest.raises(UserError, match=r"data/raw has digits, but params\.yaml has data\.dataset: fashion-mnist"):
        prepare.main([])


def test_without_raw_files_the_command_says_so_and_exits_with_2(tmp_path: Path) -> None:
    sample_params(tmp_path, {})
    done = Project(tmp_path).module("prepare", check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: data/raw/train-images-idx3-ubyte is missing; "
        "create it with `dvc repro download` or `python -m src.download`\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
