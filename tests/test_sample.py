import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from src import sample
from src.core import interrupts
from src.core.device import MIB
from src.core.errors import UserError, run_command
from src.core.files import write_json
from src.networks.description import load_generator
from src.networks.weights import save_network
from src.sampling.draw import generate
from tests.conftest import ROOT, Project, start
from tests.networks.tiny import pair

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved generator with weights that nobody trained."""
    return save_model(tmp_path_factory.mktemp("model"))


def save_model(folder: Path, **options: Any) -> Path:
    save_network(pair("dcgan", **options)[0], folder, "generator")
    write_json({"class_names": ["Ankle boot", "Bag, small", "T-shirt/top"]}, folder / "card.json")
    return folder


def sampled(model: Path, out: Path | str, *arguments: str) -> dict[str, np.ndarray]:
    """The arrays of an npz."""
    sample.main(["--model", str(model), *arguments, "--out", str(out)])
    with np.load(out, allow_pickle=False) as content:
        return dict(content)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--label", "2,0"), [2, 0, 2, 0, 2]),
        (("--label", "t-shirt/TOP", "--label", "0"), [2, 0, 2, 0, 2]),
        (("--label", "Bag, small"), [1, 1, 1, 1, 1]),
        (("--label", "1, 1,ankle boot"), [1, 0, 1, 0, 1]),
        ((), [0, 1, 2, 0, 1]),
    ],
)
def test_classes_take_turns(model: Path, tmp_path: Path, arguments: tuple[str, ...], expected: list[int]) -> None:
    content = sampled(model, tmp_path / "a.npz", "--count", "5", *arguments)
    assert content["labels"].tolist() == expected


def test_per_class_counts_each_label(model: Path, tmp_path: Path) -> None:
    content = sampled(model, tmp_path / "a.npz", "--per-class", "2", "--label", "2,0")
    assert content["labels"].tolist() == [2, 2, 0, 0]


def test_seeds_and_labels_make_the_images_again(model: Path, tmp_path: Path) -> None:
    content = sampled(model, tmp_path / "a.npz", "--count", "130", "--seed", "3")
    assert {name: array.dtype.name for name, array in content.items()} == {
        "images": "uint8",
        "labels": "int64",
        "seeds": "int64",
    }
    assert content["seeds"].tolist() == list(range(3 * 2**32, 3 * 2**32 + 130))
    labels, seeds = (torch.from_numpy(content[name]) for name in ("labels", "seeds"))
    again = generate(load_generator(model), labels, seeds)
    assert (again[:, 0].numpy() == content["images"]).all()


def test_truncation(model: Path, tmp_path: Path) -> None:
    plain, one, half = (
        sampled(model, tmp_path / f"{index}.npz", "--count", "60", "--label", "1", *options)["images"]
        for index, options in enumerate(((), ("--truncation", "1"), ("--truncation", "0.5")))
    )
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()
    assert (plain == one).all()
    assert half.std(axis=0).mean() < 0.7 * plain.std(axis=0).mean()
    sample.main(["--model", str(model), "--truncation", "0.5", "--out", str(tmp_path / "a.png")])
    sample.main(["--model", str(model), "--out", str(tmp_path / "b.png")])
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_folder_has_the_images_of_the_npz(model: Path, tmp_path: Path) -> None:
    options = ("--count", "103", "--seed", "6", "--truncation", "0.8", "--label", "0,2")
    images = sampled(model, tmp_path / "a.npz", *options)["images"]
    for name in ("plain", "slash.d/"):
        sample.main(["--model", str(model), *options, "--out", f"{tmp_path}/{name}"])
    assert tree(tmp_path / "plain") == tree(tmp_path / "slash.d")
    read = ImageFolder(str(tmp_path / "plain"))
    assert (read.classes, len(read)) == (["0_Ankle_boot", "2_T-shirt_top"], 103)
    for (path, label), (picture, _) in zip(read.samples, read, strict=True):
        number = int(Path(path).stem.removeprefix("seed6_"))
        assert label == number % 2
        assert (np.asarray(picture)[:, :, 0] == images[number]).all()


def test_walks_between_seeds_and_classes(model: Path, tmp_path: Path) -> None:
    def grid(name: str, *arguments: str) -> np.ndarray:
        sample.main(["--model", str(model), *arguments, "--out", str(tmp_path / name)])
        with Image.open(tmp_path / name) as image:
            return np.asarray(image.convert("L"))

    plain = {
        (label, seed): grid("plain.png", "--label", label, "--seed", seed, "--count", "1")[12:68, 12:68]
        for label in "02"
        for seed in "01"
    }
    walks = {
        ("0", "1"): ("--to-seed", "1"),
        ("2", "0"): ("--to-label", "t-shirt/top"),
        ("2", "1"): ("--to-label", "2", "--to-seed", "1"),
    }
    for end, options in walks.items():
        picture = grid("walk.png", "--label", "0", "--count", "1", "--steps", "5", *options)[12:68]
        cells = [picture[:, -12 - 56 - 60 * place :][:, :56] for place in (4, 3, 2, 1, 0)]
        assert (cells[0] == plain["0", "0"]).all()
        assert (cells[-1] == plain[end]).all()
        assert all((one != other).any() for one, other in pairwise(cells))
    sample.main(["--model", str(model), "--to-seed", "1", "--out", str(tmp_path / "walk.gif")])
    with Image.open(tmp_path / "walk.gif") as image:
        assert getattr(image, "n_frames", 1) == 30


def test_a_generator_without_labels_cannot_go_from_class_to_class(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", conditioning="none")
    with pytest.raises(UserError, match=r"ignores labels \(model.conditioning is none\); use --to-seed"):
        sample.main(["--model", str(model), "--to-label", "1", "--out", str(tmp_path / "a.png")])
    sample.main(["--model", str(model), "--to-seed", "1", "--count", "2", "--out", str(tmp_path / "a.png")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--label", "12"),
            "--label '12' is not a class of this model; it has 0 Ankle boot, 1 Bag, small, 2 T-shirt/top",
        ),
        (("--label", "-1"), "--label '-1' is not a class"),
        (("--label", "boot"), "--label 'boot' is not a class"),
        (("--label", "1,boot"), "--label 'boot' is not a class"),
        (("--label", "1,,2"), "--label '' is not a class"),
        (("--to-label", "boot"), "--to-label 'boot' is not a class"),
        (("--label", "1", "--to-label", "1"), "at least one must differ"),
        (("--seed", "4", "--to-seed", "4"), "at least one must differ"),
        (("--steps", "5"), "needs --to-seed or --to-label"),
        (
            ("--count", "1601"),
            "1,601 images are too many for one picture; at most 1,600 are allowed; an .npz or a folder",
        ),
        (("--per-class", "600", "--out", "x.gif"), "1,800 images are too many for one picture"),
        (("--count", "101", "--to-seed", "4"), "1,616 images are too many .* fewer --steps"),
        (("--per-class", "400000", "--out", "x.npz"), "1,200,000 images are too many at once; at most 1,000,000"),
        (("--to-seed", "4", "--out", "x.npz"), r"--out must be .png or .gif"),
        (("--to-label", "1", "--out", "x/"), r"--out must be .png or .gif"),
        (("--out", "x.jpg"), r"--out x.jpg: the name must end in .png, .gif or .npz, or in / \(or have no ending\)"),
        (("--out", "folder.npz"), "--out folder.npz is a folder; end the name in / to write one"),
        (("--out", "folder.npz/"), "folder.npz holds other files"),
        (("--out", "folder.npz/notes"), "notes is a file"),
    ],
)
def test_bad_combinations(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "folder.npz/notes").write_text("mine")
    with pytest.raises(UserError, match=message) as error:
        sample.main(["--model", str(model), "--out", "x.png", *arguments])
    assert "\n" not in str(error.value)
    assert tree(tmp_path) == {"folder.npz/notes": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", "0"), "must be a whole number from 1 to 1000000"),
        (("--count", "x"), "must be a whole number from"),
        (("--seed", "-1"), "must be a whole number from 0"),
        (("--to-seed", "2147483648"), "must be a whole number from 0"),
        (("--per-class", "10000000"), "must be a whole number from"),
        (("--steps", "1"), "must be a whole number from 2"),
        (("--count", "3", "--per-class", "3"), "not allowed with argument"),
        *(
            (("--truncation", value), "must be a number above 0 and up to 1")
            for value in ("0", "1.1", "-1", "nan", "x")
        ),
    ],
)
def test_wrong_numbers(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        sample.main([*MODEL, *arguments, "--out", str(tmp_path / "x.png")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def command(model: Path, out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "src.sample", "--model", str(model), *arguments, "--out", str(out)]


def wait_for(condition: Callable[[], bool], child: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("name", ["some.npz", "folder"])
def test_stopped_between_two_batches(
    model: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No half file stays under its name; the same command continues a folder."""
    out, calls, check = tmp_path / name, count(), interrupts.check
    options = ["--model", str(model), "--count", "500", "--out"]

    def third() -> None:
        if next(calls) == 2:
            interrupts.note(signal.SIGINT)
        check()

    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "check", third)
        with pytest.raises(SystemExit) as end:
            run_command(lambda: sample.main([*options, str(out)]))
    assert end.value.code == 130
    assert capsys.readouterr().err.strip() == "stopped by Ctrl-C"
    if name == "some.npz":
        assert not list(tmp_path.iterdir())
        return
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert 0 < len(before) < 500
    assert not list(out.rglob("*.part"))
    for place in (out, tmp_path / "whole"):
        sample.main([*options, str(place)])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["some.npz", "folder"])
def test_stopped_by_ctrl_c(model: Path, tmp_path: Path, name: str) -> None:
    """The same in a process of its own, wherever it is."""
    out, images = tmp_path / name, "1000000" if name == "some.npz" else "10000"
    arguments = command(model, out, "--count", images)
    child = start(arguments, dict(os.environ), ROOT)
    half = tmp_path / f"some.npz.{child.pid}.part" if name == "some.npz" else out / "1_Bag_small/seed0_000301.png"
    wait_for(half.exists, child)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    if name == "some.npz":
        assert not list(tmp_path.iterdir())
        return
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert 300 < len(before) < 10_000
    assert not list(out.rglob("*.part"))
    sample.main(arguments[3:])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    sample.main(command(model, tmp_path / "whole", "--count", images)[3:])
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["some.npz", "folder"])
def test_ten_times_as_many_images_need_no_more_memory(tmp_path: Path, name: str) -> None:
    size, few, many = (64, 1_000, 10_000)
    model = save_model(tmp_path / "model", size=size)
    code = (
        "import sys; from src import sample; from src.core import device\n"
        "for count in sys.argv[3:]:\n"
        "    sample.main(['--model', sys.argv[1], '--count', count, '--out', f'{sys.argv[2]}/{count}/' + 'NAME'])\n"
        "    print('peak', device.peak_resident())"
    ).replace("NAME", name)
    result = subprocess.run(
        [sys.executable, "-c", code, str(model), str(tmp_path), str(few), str(many)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    first, second = (float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("peak "))
    held = (many - few) * size**2 / MIB
    assert held > 35
    assert second - first < held / 3


def test_a_corrupt_model_folder(in_project: Project, tmp_path: Path) -> None:
    for name in ("generator.json", "generator.safetensors", "card.json"):
        (tmp_path / name).write_bytes((in_project.folder / "models/gan" / name).read_bytes())
    (tmp_path / "generator.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"generator\.safetensors is corrupt"):
        sample.main(["--model", str(tmp_path), "--out", str(tmp_path / "x.png")])
