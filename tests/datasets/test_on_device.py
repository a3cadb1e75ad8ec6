from collections import Counter

import pytest
import torch

from src.datasets.on_device import OnDeviceImages
from src.pixels import to_float, to_uint8

from .conftest import numbered_images, numbers_of


def make(per_class: int = 5, seed: int = 0) -> OnDeviceImages:
    raw = numbered_images(per_class)
    return OnDeviceImages(raw.images, raw.labels, "cpu", torch.Generator().manual_seed(seed))


def draw(batches: OnDeviceImages, batch_size: int) -> list[int]:
    images, labels = batches.next_batch(batch_size)
    numbers = numbers_of(to_uint8(images))
    assert labels.tolist() == [number % 10 for number in numbers]
    return numbers


def test_a_batch_is_float_in_minus_one_to_one() -> None:
    images, labels = make().next_batch(7)
    assert (images.shape, images.dtype) == ((7, 1, 8, 8), torch.float32)
    assert (labels.shape, labels.dtype) == ((7,), torch.int64)
    assert images.amin() == -1
    assert images.amax() <= 1


def test_floats_and_bytes_invert_each_other_on_all_256_values() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = to_float(values)
    assert (float(floats.min()), float(floats.max())) == (-1, 1)
    assert torch.equal(to_uint8(floats), values)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64, 175])
def test_every_image_is_shown_exactly_once_an_epoch(batch_size: int) -> None:
    batches = make()
    drawn: list[int] = []
    while len(drawn) < 350:
        batch = draw(batches, batch_size)
        assert len(batch) == batch_size
        drawn += batch
    epochs = [drawn[start : start + 50] for start in range(0, 350, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 7


def test_a_batch_larger_than_the_dataset_holds_whole_epochs() -> None:
    assert set(Counter(draw(make(), 150)).values()) == {3}


def test_the_seed_decides_the_order() -> None:
    assert draw(make(seed=3), 20) == draw(make(seed=3), 20) != draw(make(seed=4), 20)


@pytest.mark.parametrize("batches_before", [0, 1, 5, 7])
def test_the_state_resumes_to_the_bit(batches_before: int) -> None:
    first = make(seed=1)
    for _ in range(batches_before):
        first.next_batch(10)
    state = first.state_dict()
    expected = [first.next_batch(8) for _ in range(20)]

    second = make(seed=2)
    second.next_batch(3)
    second.load_state_dict(state)
    for images, labels in expected:
        again_images, again_labels = second.next_batch(8)
        assert torch.equal(images, again_images)
        assert torch.equal(labels, again_labels)


def test_a_saved_state_does_not_follow_the_sampler() -> None:
    batches = make()
    batches.next_batch(30)
    state = batches.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    batches.next_batch(70)
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(isinstance(value, torch.Tensor) and value.device.type == "cpu" for value in state.values())


def test_the_state_of_another_dataset_is_refused() -> None:
    other = make(per_class=6)
    other.next_batch(1)
    with pytest.raises(ValueError, match="the state is of 60 images, not of 50"):
        make().load_state_dict(other.state_dict())


def test_other_tensors_are_refused() -> None:
    raw = numbered_images(2)
    generator = torch.Generator()
    with pytest.raises(ValueError, match="uint8"):
        OnDeviceImages(raw.images.float(), raw.labels, "cpu", generator)
    with pytest.raises(ValueError, match="20 images with 19 labels"):
        OnDeviceImages(raw.images, raw.labels[1:], "cpu", generator)
    with pytest.raises(ValueError, match="0 images"):
        OnDeviceImages(raw.images[:0], raw.labels[:0], "cpu", generator)
