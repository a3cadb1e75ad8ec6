import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.config.params import Data
from src.core.errors import UserError
from src.data.info import dataset_info
from src.data.prepared import load
from src.data.readers import RawImages
from src.data.splitting import split_and_save

from .conftest import numbered_images, numbers_of

FILE = "dataset.safetensors"


def test_the_splits_are_disjoint_complete_and_stratified(tmp_path: Path) -> None:
    card = split_and_save(numbered_images(60), Data(validation_fraction=0.25, test_fraction=0.2), tmp_path)
    data = load(tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [360, 120, 120]
    numbers = [number for split in (data.train, data.validation, data.test) for number in numbers_of(split.images)]
    assert sorted(numbers) == list(range(600))
    for split, per_class in ((data.train, 36), (data.validation, 12), (data.test, 12)):
        assert split.labels.tolist() == [number % 10 for number in numbers_of(split.images)]
        assert torch.bincount(split.labels).tolist() == [per_class] * 10
    assert card["images_per_class"]["validation"] == {str(digit): 12 for digit in range(10)}


def test_an_official_test_split_is_kept_in_its_order(tmp_path: Path) -> None:
    card = split_and_save(numbered_images(60, official_test=100), Data(validation_fraction=0.2), tmp_path)
    data = load(tmp_path)
    assert numbers_of(data.test.images) == list(range(500, 600))
    assert (len(data.train), len(data.validation)) == (400, 100)
    assert card["official_test_split"] is True
    assert card["test_fraction"] is None


def test_the_same_input_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    cards = [
        split_and_save(numbered_images(30), Data(split_seed=seed), tmp_path / folder)
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    files = [(tmp_path / folder / FILE).read_bytes() for folder in "abc"]
    assert files[0] == files[1] != files[2]
    hashes = [card["content_hash"] for card in cards]
    assert hashes[0] == hashes[1] != hashes[2]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["card.json", FILE]


def test_what_is_loaded_says_what_it_is(tmp_path: Path) -> None:
    card = split_and_save(numbered_images(30), Data(), tmp_path)
    data = load(tmp_path)
    assert (data.name, data.channels, data.image_size) == ("digits", 1, 8)
    assert data.class_names == tuple("0123456789")
    assert data.content_hash == card["content_hash"]
    assert len(data.content_hash) == 64
    assert json.loads((tmp_path / "card.json").read_text()) == card


def test_the_card_describes_the_training_pixels(tmp_path: Path) -> None:
    raw = numbered_images(30)
    raw.images[:] = torch.tensor([0, 255, 255, 255, 0, 0, 0, 0], dtype=torch.uint8)  # 3 of 8 pixels are white
    card = split_and_save(raw, Data(), tmp_path)
    assert card["train_pixel_mean"] == 0.375
    assert card["train_pixel_std"] == pytest.approx((0.375 * 0.625) ** 0.5, abs=1e-8)
    assert (card["image_shape"], card["dtype"], card["split_seed"]) == ([1, 8, 8], "uint8", 0)


def test_the_fractions_of_fashion_mnist_give_50000_10000_10000(tmp_path: Path) -> None:
    count = 70_000
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    numbers = torch.arange(count)
    raw = RawImages(dataset_info("fashion-mnist"), images, numbers % 10, numbers >= 60_000)
    card = split_and_save(raw, Data(), tmp_path)
    assert card["images"] == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert set(card["images_per_class"]["train"].values()) == {5_000}
    started = time.perf_counter()
    data = load(tmp_path)
    assert time.perf_counter() - started < 1
    assert data.train.images.shape == (50_000, 1, 28, 28)


def test_a_split_too_small_for_the_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.validation_fraction: 0\.01 of 240 images is 2; .* 10 classes"):
        split_and_save(numbered_images(30), Data(validation_fraction=0.01), tmp_path)
    with pytest.raises(UserError, match=r"data\.test_fraction: 0\.01 of 300 images is 3; .* 10 classes"):
        split_and_save(numbered_images(30), Data(test_fraction=0.01), tmp_path)
    lonely = numbered_images(30)
    lonely.labels[lonely.labels == 9] = 8
    lonely.labels[9] = 9
    with pytest.raises(UserError, match="a class has fewer than 2 of 300 images"):
        split_and_save(lonely, Data(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_dataset_is_refused(tmp_path: Path) -> None:
    split_and_save(numbered_images(30), Data(), tmp_path)
    path = tmp_path / FILE
    content = path.read_bytes()
    for damaged in (b"", b"nonsense", content[:-1], content[:50], b"\xff" * 8 + content[8:]):
        path.write_bytes(damaged)
        with pytest.raises(
            UserError, match=r"dataset\.safetensors is corrupt: .*`dvc repro --force --single-item prepare`"
        ):
            load(tmp_path)
    path.write_bytes(content)
    tensors = load_file(path)
    about = {"dataset": json.dumps({"name": "digits", "class_names": [], "content_hash": ""})}
    for wrong, metadata in (
        (tensors, {"format": "pt"}),
        (tensors, {"dataset": "{"}),
        (tensors, {"dataset": "[]"}),
        ({name: tensor for name, tensor in tensors.items() if name != "test_labels"}, about),
        (tensors | {"test_labels": tensors["test_labels"][1:].clone()}, about),
        (tensors | {"train_images": tensors["train_images"].float()}, about),
        (tensors | {"train_images": tensors["train_images"][..., 1:].contiguous()}, about),
    ):
        save_file(wrong, path, metadata=metadata)
        with pytest.raises(UserError, match=r"dataset\.safetensors is corrupt"):
            load(tmp_path)


def test_images_that_are_not_square_are_refused(tmp_path: Path) -> None:
    raw = numbered_images(30)
    narrow = RawImages(raw.info, raw.images[..., :4], raw.labels, raw.official_test)
    with pytest.raises(UserError, match="must be square"):
        split_and_save(narrow, Data(), tmp_path)
