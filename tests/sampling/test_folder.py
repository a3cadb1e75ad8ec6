import json
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from src.core.errors import UserError
from src.networks.interface import Generator
from src.sampling.folder import safe_name, save_folder
from src.sampling.plan import Plan
from tests.networks.tiny import pair

NAMES = ("Ankle boot", "T-shirt/top", "a")
PLAN = Plan((0, 1, 2), 250, None, 4)


def save(folder: Path, plan: Plan = PLAN, generator: Generator | None = None) -> None:
    save_folder(plan, generator or pair("dcgan", channels=3)[0], NAMES, folder, plan.batches())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("channels", [1, 3])
def test_torchvision_reads_the_images_with_their_labels(tmp_path: Path, channels: int) -> None:
    generator, _ = pair("dcgan", channels=channels)
    save(tmp_path / "images", generator=generator)
    read = ImageFolder(str(tmp_path / "images"))
    assert read.classes == ["0_Ankle_boot", "1_T-shirt_top", "2_a"]
    assert len(read) == 250
    images = PLAN.draw(generator, torch.arange(250)).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    for (path, label), (picture, same) in zip(read.samples, read, strict=True):
        seed, number = Path(path).stem.split("_")
        assert (seed, label, same) == ("seed4", int(number) % 3, int(number) % 3)
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        assert torch.equal(pixels, images[int(number)].flatten())


def test_eleven_classes_stay_in_order(tmp_path: Path) -> None:
    generator, _ = pair(class_count=11)
    plan = Plan(tuple(range(11)), 11, None, 0)
    save_folder(plan, generator, [f"c{label}" for label in range(11)], tmp_path, plan.batches())
    read = ImageFolder(str(tmp_path))
    assert read.classes == [f"{label:02}_c{label}" for label in range(11)]
    assert [Path(path).stem for path, _ in read.samples] == [f"seed0_{number:06}" for number in range(11)]


def test_an_interrupted_folder_goes_on(tmp_path: Path) -> None:
    generator, _ = pair("dcgan", channels=3)
    batches = 0

    def stop_after_two(*_: object) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise KeyboardInterrupt

    generator.register_forward_pre_hook(stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "images", generator=generator)
    assert len(contents(tmp_path / "images")) == 201
    (tmp_path / "images/0_Ankle_boot/seed4_000003.png").unlink()
    (tmp_path / "images/1_T-shirt_top/seed4_000004.png").write_bytes(b"")  # as after a power cut
    kept = tmp_path / "images/2_a/seed4_000005.png"
    there = kept.read_bytes()
    kept.write_bytes(b"not drawn again")
    batches = 3
    save(tmp_path / "images", generator=generator)
    assert batches == 5  # one for the two images of the first, none of the second, one for the rest
    assert kept.read_bytes() == b"not drawn again"
    kept.write_bytes(there)
    save(tmp_path / "whole", generator=generator)
    assert batches == 8
    assert contents(tmp_path / "images") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (Plan((0, 1, 2), 251, None, 4), "count"),
        (Plan((0, 1, 2), 250, None, 5), "seed"),
        (Plan((0, 1, 2), 250, None, 4, 0.9), "truncation"),
        (Plan((1, 2), 250, 125, 4), "classes, per_class"),
    ],
)
def test_another_plan_is_refused(tmp_path: Path, changed: Plan, named: str) -> None:
    save(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=f"holds images drawn with another {named}; remove it"):
        save(tmp_path, changed)
    assert contents(tmp_path) == before


def test_another_generator_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(UserError, match="drawn with another generator"):
        save(tmp_path, generator=pair("dcgan", channels=3, seed=1)[0])


@pytest.mark.parametrize(("name", "text"), [("notes.txt", "mine"), ("samples.json", "[1]"), ("samples.json", "{")])
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="holds other files; give the images a folder of their own"):
        save(tmp_path)
    assert contents(tmp_path) == {name: text.encode()}
    with pytest.raises(UserError, match=r"is a file; give the folder"):
        save(tmp_path / name)


def test_the_facts_say_what_the_images_are(tmp_path: Path) -> None:
    save(tmp_path, Plan((2, 0), 2, 1, 4, 0.5))
    facts = json.loads((tmp_path / "samples.json").read_text())
    assert len(facts.pop("generator")) == 64
    assert facts == {"classes": ["a", "Ankle boot"], "count": 2, "per_class": 1, "seed": 4, "truncation": 0.5}
    assert sorted(contents(tmp_path)) == ["0_Ankle_boot/seed4_000001.png", "2_a/seed4_000000.png", "samples.json"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("T-shirt/top", "T-shirt_top"),
        ("../up", "up"),
        ("a:b*c?", "a_b_c"),
        ("Käse", "Käse"),
        ("x" * 300, "x" * 60),
        ("..", ""),
    ],
)
def test_names_are_safe_for_files(name: str, safe: str) -> None:
    assert safe_name(name) == safe
