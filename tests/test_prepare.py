import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from src import download, prepare
from src.datasets.store import Split, load
from src.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_digits_are_split_described_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("data: {dataset: digits}")
    download.main()
    prepare.main()
    prepared = Path("data/prepared")
    assert sorted(path.name for path in prepared.iterdir()) == ["card.json", "dataset.safetensors", "grid.png"]
    card = json.loads((prepared / "card.json").read_text())
    assert card["images"] == {"train": 1198, "validation": 240, "test": 359}
    assert len(load(prepared).train) == 1198
    with Image.open(prepared / "grid.png") as picture:
        assert picture.height == 12 + 30 + 10 * 60 - 4 + 12

    first = {path.name: path.read_bytes() for path in prepared.iterdir()}
    prepare.main()
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == first

    Path("params.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"data/raw holds digits, but params\.yaml says data\.dataset: fashion-mnist"):
        prepare.main()


def test_the_grid_takes_as_many_of_each_class_as_the_smallest_has() -> None:
    split = Split(torch.zeros(7, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, 0, 1, 1, 0, 1, 1]))
    chosen, columns = prepare.first_of_each_class(split, classes=2, at_most=10)
    assert (chosen.tolist(), columns) == ([1, 4, 0, 2], 2)
    chosen, columns = prepare.first_of_each_class(split, classes=2, at_most=1)
    assert (chosen.tolist(), columns) == ([1, 0], 1)


def test_without_raw_files_the_command_says_so_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "src.prepare"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: data/raw/train-images-idx3-ubyte is missing; "
        "make it with `dvc repro download` or `python -m src.download`\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
