import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from src.data.prepared import PreparedData
from src.evaluation import real_images as real_images_module
from src.evaluation.metrics.quick.memorisation import nearest_training
from src.evaluation.real_images import KEPT, RealImages, SplitName
from src.evaluation.scored import Scored, score_images
from src.networks.interface import Classifier
from tests.networks.tiny import classifier as other_classifier
from tests.training.digits import classifier, digits

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def same_bits(one: Scored, other: Scored) -> bool:
    pairs = [(one.features, other.features), (one.logits, other.logits), (one.labels, other.labels)]
    assert (one.train_distances is None) == (other.train_distances is None)
    if one.train_distances is not None and other.train_distances is not None:
        pairs.append((one.train_distances, other.train_distances))
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were looked at, each time that some were."""
    found: list[int] = []

    def counted(network: Classifier, images: Tensor, labels: Tensor) -> Scored:
        found.append(len(images))
        return score_images(network, images, labels)

    monkeypatch.setattr(real_images_module, "score_images", counted)
    return found


def kept_in(folder: Path, data: PreparedData | None = None, network: Classifier | None = None) -> RealImages:
    return RealImages(network or classifier(), data or digits(), folder)


def with_hash(text: str) -> PreparedData:
    return dataclasses.replace(digits(), content_hash=text)


def the_folder(real: RealImages) -> Path:
    assert real.folder is not None
    return real.folder


def test_every_split_is_as_the_classifier_sees_it_with_the_nearest_training_images() -> None:
    real = RealImages(classifier(), digits())
    train = real.scored("train")
    assert train.train_distances is None
    assert same_bits(train, score_images(classifier(), digits().train.images, digits().train.labels))
    for split, images in (("validation", digits().validation), ("test", digits().test)):
        expected = score_images(classifier(), images.images, images.labels)
        expected = expected.beside(nearest_training(expected.features, train.features)[0])
        found = real.scored(split)  # type: ignore[arg-type]
        assert same_bits(found, expected)
        assert found.train_distances is not None
        assert float(found.train_distances.min()) > 0


def test_a_split_is_found_once(calls: list[int]) -> None:
    real = RealImages(classifier(), digits())
    assert real.scored("validation") is real.scored("validation")
    assert real.scored("train") is real.scored("train")
    assert calls == [240, 1200]


def test_what_was_kept_is_read_back_bit_by_bit(tmp_path: Path, calls: list[int]) -> None:
    first = kept_in(tmp_path)
    found = [first.scored(split) for split in SPLITS]
    assert sorted(calls) == [240, 357, 1200]
    assert sorted(path.name for path in the_folder(first).iterdir()) == [
        "test.safetensors",
        "train.safetensors",
        "validation.safetensors",
    ]
    calls.clear()
    again = kept_in(tmp_path)
    for split, expected in zip(SPLITS, found, strict=True):
        assert same_bits(again.scored(split), expected)
    assert calls == []


def test_another_classifier_or_other_data_has_a_folder_of_its_own(tmp_path: Path) -> None:
    changed = other_classifier().eval()
    folders = {the_folder(kept_in(tmp_path, network=changed))}
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-6
    folders |= {the_folder(kept_in(tmp_path, network=changed))}
    folders |= {the_folder(kept_in(tmp_path, with_hash(text))) for text in ("one", "other", "one")}
    folders |= {the_folder(kept_in(tmp_path)), the_folder(kept_in(tmp_path))}
    assert len(folders) == 5
    assert {folder.parent for folder in folders} == {tmp_path}


def test_another_gpu_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    real, keys = RealImages(classifier(), digits()), {RealImages(classifier(), digits())._key()}
    real.device = torch.device("cuda", 0)
    for name in ("NVIDIA H200", "NVIDIA A100", "NVIDIA H200"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: f"{name} {device}")
        keys.add(real._key())
    assert len(keys) == 3


def test_what_another_classifier_saw_is_not_read(tmp_path: Path, calls: list[int]) -> None:
    ours = kept_in(tmp_path).scored("train")
    theirs = kept_in(tmp_path, network=other_classifier().eval()).scored("train")
    assert (ours.features.shape, theirs.features.shape) == ((1200, 32), (1200, 7))
    kept_in(tmp_path, with_hash("other")).scored("train")
    assert calls == [1200, 1200, 1200]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not what it should be")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def missing(path: Path) -> None:
    path.unlink()


def of_other_images(path: Path) -> None:
    save_file({name: tensor[:-1].clone() for name, tensor in load_file(path).items()}, path)


def of_fewer_logits(path: Path) -> None:
    found = load_file(path)
    save_file({**found, "logits": found["logits"][:-1].clone()}, path)


def of_fewer_distances(path: Path) -> None:
    found = load_file(path)
    save_file({**found, "train_distances": found["train_distances"][:-1].clone()}, path)


def of_single_numbers(path: Path) -> None:
    save_file({name: torch.tensor(1.0) for name in load_file(path)}, path)


def without_distances(path: Path) -> None:
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "train_distances"}, path)


def of_other_names(path: Path) -> None:
    save_file({"weights": torch.zeros(240)}, path)


@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        empty,
        text,
        missing,
        folder_instead,
        of_other_images,
        of_fewer_logits,
        of_fewer_distances,
        of_single_numbers,
        without_distances,
        of_other_names,
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_found_again(spoil: Any, tmp_path: Path, calls: list[int]) -> None:
    first = kept_in(tmp_path)
    expected = first.scored("validation")
    path = the_folder(first) / "validation.safetensors"
    spoil(path)
    calls.clear()
    assert same_bits(kept_in(tmp_path).scored("validation"), expected)
    assert calls == [240]
    if spoil is not folder_instead:
        calls.clear()
        assert same_bits(kept_in(tmp_path).scored("validation"), expected)
        assert calls == []


def test_training_images_with_distances_are_another_split(tmp_path: Path, calls: list[int]) -> None:
    first = kept_in(tmp_path)
    expected = first.scored("train")
    path = the_folder(first) / "train.safetensors"
    save_file({**load_file(path), "train_distances": torch.zeros(1200)}, path)
    calls.clear()
    assert same_bits(kept_in(tmp_path).scored("train"), expected)
    assert calls == [1200]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int]) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        real = RealImages(classifier(), digits())
        assert real.folder is None
        real.scored("train")
    assert calls == [1200, 1200]
    assert list(tmp_path.iterdir()) == []


def test_at_most_so_many_other_folders_stay_the_last_used(tmp_path: Path) -> None:
    made = []
    for number in range(KEPT + 3):
        real = kept_in(tmp_path, with_hash(str(number)))
        real.scored("train")
        # Seconds apart, however fast this is.
        os.utime(the_folder(real), (number, number))
        made.append(the_folder(real))
    left = made[-KEPT - 1 :]
    assert sorted(tmp_path.iterdir()) == sorted(left)
    # What is read is used: the oldest of them stays now, and the second goes.
    kept_in(tmp_path, with_hash("2")).scored("train")
    newest = kept_in(tmp_path, with_hash("new"))
    newest.scored("train")
    assert sorted(tmp_path.iterdir()) == sorted([left[0], *left[2:], the_folder(newest)])


@pytest.mark.parametrize("obstacle", ["file", "no permission"])
def test_a_folder_that_cannot_be_written_is_no_failure(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "real"
    if obstacle == "file":
        folder.write_text("in the way")
    else:

        def refused(self: Path, *_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refused)
    for _ in range(2):
        found = kept_in(folder).scored("validation")
        assert same_bits(found, RealImages(classifier(), digits()).scored("validation"))
    assert folder.is_file() or not folder.exists()


def test_a_folder_that_can_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    expected = kept_in(tmp_path).scored("validation")
    calls.clear()

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.utime", refused)
    assert same_bits(kept_in(tmp_path).scored("validation"), expected)
    assert calls == []


def test_folders_that_another_process_forgets_meanwhile_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    listed = Path.iterdir

    def with_one_gone(self: Path) -> Any:
        yield from listed(self)
        yield self / "gone"

    monkeypatch.setattr(Path, "iterdir", with_one_gone)
    real = kept_in(tmp_path)
    real.scored("train")
    monkeypatch.undo()
    assert (the_folder(real) / "train.safetensors").is_file()


class WithoutTest:
    """Data whose test split nobody may touch."""

    content_hash = "without test"

    def __init__(self) -> None:
        self.train, self.validation = digits().train, digits().validation

    @property
    def test(self) -> Any:
        raise AssertionError("the test split was asked for")


@pytest.mark.parametrize("keeping", [True, False])
def test_the_test_split_is_not_touched_before_it_is_asked_for(keeping: bool, tmp_path: Path) -> None:
    data: Any = WithoutTest()
    for _ in range(2):  # found, and read back
        real = RealImages(classifier(), data, tmp_path if keeping else None)
        assert len(real.scored("train")) == 1200
        assert len(real.scored("validation")) == 240
    with pytest.raises(AssertionError, match="was asked for"):
        real.scored("test")
