from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from src.data.batches import Batches, StreamedBatches, open_batches

from .conftest import numbered_images, numbers_of

CPU = torch.device("cpu")
KINDS: list[Any] = [Batches, StreamedBatches]
Make = Callable[..., Batches]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the batches of numbered images, in either kind."""

    def made(per_class: int = 5, seed: int = 0) -> Batches:
        raw = numbered_images(per_class)
        batches: Batches = request.param(raw.images, raw.labels, CPU, seed)
        return batches

    return made


def draw(batches: Batches, batch_size: int) -> list[int]:
    images, labels = batches.next_batch(batch_size)
    numbers = numbers_of(images)
    assert labels.tolist() == [number % 10 for number in numbers]
    return numbers


def test_a_batch_is_bytes_and_labels(make: Make) -> None:
    images, labels = make().next_batch(7)
    assert (images.shape, images.dtype) == ((7, 1, 8, 8), torch.uint8)
    assert (labels.shape, labels.dtype) == ((7,), torch.int64)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64, 175])
def test_every_image_is_shown_exactly_once_an_epoch(make: Make, batch_size: int) -> None:
    batches = make()
    drawn: list[int] = []
    while len(drawn) < 350:
        batch = draw(batches, batch_size)
        assert len(batch) == batch_size
        drawn += batch
    epochs = [drawn[start : start + 50] for start in range(0, 350, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 7


def test_a_batch_larger_than_the_dataset_holds_whole_epochs(make: Make) -> None:
    assert set(Counter(draw(make(), 150)).values()) == {3}


def test_the_seed_decides_the_order(make: Make) -> None:
    assert draw(make(seed=3), 20) == draw(make(seed=3), 20) != draw(make(seed=4), 20)


@pytest.mark.parametrize("batches_before", [0, 1, 5, 7])
def test_the_state_resumes_to_the_bit(make: Make, batches_before: int) -> None:
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


def test_a_saved_state_does_not_follow_the_batches(make: Make) -> None:
    batches = make()
    batches.next_batch(30)
    state = batches.state_dict()
    before = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in state.items()}
    batches.next_batch(70)
    assert all(torch.equal(state[name], before[name]) for name in ("order", "generator"))
    assert state["position"] == before["position"] == 30


def test_the_state_of_another_dataset_is_refused(make: Make) -> None:
    other = make(per_class=6)
    other.next_batch(1)
    with pytest.raises(ValueError, match="the state is of 60 images, not of 50"):
        make().load_state_dict(other.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_other_tensors_are_refused(kind: Any) -> None:
    raw = numbered_images(2)
    with pytest.raises(ValueError, match="uint8"):
        kind(raw.images.float(), raw.labels, CPU, 0)
    with pytest.raises(ValueError, match="20 images with 19 labels"):
        kind(raw.images, raw.labels[1:], CPU, 0)
    with pytest.raises(ValueError, match="0 images"):
        kind(raw.images[:0], raw.labels[:0], CPU, 0)


def test_streamed_batches_are_those_of_the_device_also_where_the_size_changes() -> None:
    raw = numbered_images(5)
    kept, streamed = (kind(raw.images, raw.labels, CPU, 7) for kind in KINDS)
    for batch_size in [8, 8, 8, 20, 20, 3, 64, 64, 8]:
        for one, other in zip(kept.next_batch(batch_size), streamed.next_batch(batch_size), strict=True):
            assert torch.equal(one, other)
    assert kept.state_dict()["position"] == streamed.state_dict()["position"]


def test_a_state_goes_from_one_kind_to_the_other() -> None:
    raw = numbered_images(5)
    kept, streamed = (kind(raw.images, raw.labels, CPU, seed) for seed, kind in enumerate(KINDS))
    for _ in range(4):
        streamed.next_batch(8)
    kept.load_state_dict(streamed.state_dict())
    assert draw(kept, 8) == draw(streamed, 8)


def test_the_parts_of_several_processes_make_up_the_batch(make: Make) -> None:
    raw = numbered_images(5)
    halves = [
        open_batches(raw.images, raw.labels, CPU, 0, lambda whole, rank=rank: whole.chunk(2)[rank])  # type: ignore[misc]
        for rank in range(2)
    ]
    whole = make()
    for _ in range(8):
        assert draw(halves[0], 12) + draw(halves[1], 12) == draw(whole, 12)


def test_what_is_on_the_cpu_stays_there_whatever_its_size() -> None:
    raw = numbered_images(1)
    assert type(open_batches(raw.images, raw.labels, CPU, 0)) is Batches


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_that_do_not_fit_the_gpu_are_streamed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, gpu = numbered_images(5), torch.device("cuda", 0)
    assert type(open_batches(raw.images, raw.labels, gpu, 0)) is Batches
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (raw.images.nbytes, raw.images.nbytes))
    streamed = open_batches(raw.images, raw.labels, gpu, 0)
    assert isinstance(streamed, StreamedBatches)
    kept = Batches(raw.images, raw.labels, gpu, 0)
    for _ in range(20):
        for one, other in zip(kept.next_batch(8), streamed.next_batch(8), strict=True):
            assert one.device == other.device == gpu
            assert torch.equal(one, other)
