from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import sample
from src.errors import UserError
from tests.conftest import Project

MODEL = ("--model", "gan-digits@champion")


def draw(out: Path, *arguments: str) -> bytes:
    sample.main([*MODEL, *arguments, "--out", str(out)])
    return out.read_bytes()


def test_the_same_seed_gives_the_same_bytes(in_project: Project, tmp_path: Path) -> None:
    options = ("--label", "9", "--count", "16", "--seed")
    first = draw(tmp_path / "a.png", *options, "0")
    assert first == draw(tmp_path / "b.png", *options, "0")
    assert first != draw(tmp_path / "c.png", *options, "1")
    assert Image.open(tmp_path / "a.png").size[0] > 4 * 8


def test_npz_of_every_class(in_project: Project, tmp_path: Path) -> None:
    first = draw(tmp_path / "a.npz", "--per-class", "30")
    assert first == draw(tmp_path / "b.npz", "--per-class", "30")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert content["images"].shape == (300, 8, 8)
        assert content["images"].dtype == np.uint8
        assert content["labels"].dtype == np.int64
        assert np.bincount(content["labels"]).tolist() == [30] * 10
        assert len(np.unique(content["images"][:30], axis=0)) == 30
        # one label and seed give one image, whatever is drawn beside it
        draw(tmp_path / "c.npz", "--label", "0", "--count", "7")
        with np.load(tmp_path / "c.npz") as few:
            assert np.abs(few["images"].astype(int) - content["images"][:7]).max() <= 1


def test_a_folder_works_too(in_project: Project, tmp_path: Path) -> None:
    registered = draw(tmp_path / "a.png", "--label", "3")
    sample.main(["--model", "models/gan", "--label", "3", "--out", str(tmp_path / "b.png")])
    assert (tmp_path / "b.png").read_bytes() == registered


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "12"), "--label '12' is not a class of this model; it has 0 0, 1 1"),
        (("--label", "-1"), "--label '-1' is not a class"),
        (("--label", "boot"), "--label 'boot' is not a class"),
        (("--label", "1", "--per-class", "3"), "exclude each other"),
    ],
)
def test_wrong_labels(in_project: Project, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample.main([*MODEL, *(f"{a}" for a in arguments), "--out", str(tmp_path / "x.png")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("--count", "0"), ("--count", "x"), ("--seed", "-1"), ("--per-class", "10000000")]
)
def test_wrong_numbers(tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        sample.main([*MODEL, *arguments, "--out", str(tmp_path / "x.png")])
    assert stop.value.code == 2
    assert "must be a whole number from" in capsys.readouterr().err


def test_wrong_ending(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.png or \.npz"):
        sample.main([*MODEL, "--out", str(tmp_path / "x.jpg")])


def test_a_corrupt_model_folder(in_project: Project, tmp_path: Path) -> None:
    for name in ("generator.json", "generator.safetensors", "card.json"):
        (tmp_path / name).write_bytes((in_project.folder / "models/gan" / name).read_bytes())
    (tmp_path / "generator.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"generator\.safetensors is corrupt"):
        sample.main(["--model", str(tmp_path), "--out", str(tmp_path / "x.png")])
