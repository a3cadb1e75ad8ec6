import numpy as np
import pytest
import torch

from src.core.pixels import to_uint8
from src.networks.latents import latents_from_seeds
from src.sampling.draw import SeededGenerator, generate, great_circle, interpolate, seeded_latents
from tests.networks.tiny import CLASSES, FAMILIES, pair

SEEDS = torch.tensor([0, 5, 2**62, 5, 2**63 - 1, 9, 1])
LABELS = torch.arange(7) % CLASSES


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_and_label_decide_the_image_in_any_batch(family: str) -> None:
    generator, _ = pair(family)
    images = generate(generator, LABELS, SEEDS)
    assert (images.shape, images.dtype, images.device.type) == ((7, 1, 8, 8), torch.uint8, "cpu")
    for size in (1, 3, 7):
        parts = [generate(generator, *some) for some in zip(LABELS.split(size), SEEDS.split(size), strict=True)]
        assert torch.equal(torch.cat(parts), images)
    many = generate(generator, LABELS.repeat(40), SEEDS.repeat(40))
    assert torch.equal(many[-7:], images)
    assert torch.equal(generate(generator, LABELS, SEEDS), images)
    assert images.flatten(1).unique(dim=0).shape[0] == 7


def test_another_seed_or_label_is_another_image() -> None:
    generator, _ = pair()
    zeros = torch.zeros(4, dtype=torch.int64)
    by_seed = generate(generator, zeros, torch.arange(4))
    by_label = generate(generator, torch.arange(3), zeros[:3])
    assert by_seed.flatten(1).unique(dim=0).shape[0] == 4
    assert by_label.flatten(1).unique(dim=0).shape[0] == 3
    assert torch.equal(by_seed[0], by_label[0])


@pytest.mark.parametrize("training", [True, False])
def test_sampling_leaves_the_generator_as_it_was(training: bool) -> None:
    generator, _ = pair("dcgan")
    generator.train(training)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    generate(generator, LABELS, SEEDS)
    assert all(module.training is training for module in generator.modules())
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_truncation_scales_the_latents_and_one_changes_no_bit() -> None:
    generator, _ = pair()
    latents = latents_from_seeds(SEEDS, generator.latent_size)
    assert torch.equal(seeded_latents(generator, SEEDS), latents)
    assert torch.equal(seeded_latents(generator, SEEDS, 1.0), latents)
    assert torch.equal(seeded_latents(generator, SEEDS, 0.25), latents / 4)
    whole, same, half = (generate(generator, LABELS, SEEDS, truncation=psi) for psi in (1.0, 1, 0.5))
    assert torch.equal(whole, generate(generator, LABELS, SEEDS))
    assert torch.equal(whole, same)
    with torch.no_grad():
        expected = to_uint8(generator.eval()(latents / 2, LABELS)).int()
    assert (half.int() - expected).abs().max() <= 1
    assert not torch.equal(whole, half)
    # The smaller it is, the nearer all images come to that of the mean latent.
    zeros = torch.zeros(50, dtype=torch.int64)
    spreads = [
        generate(generator, zeros, torch.arange(50), truncation=psi).float().std(dim=0).mean().item()
        for psi in (1.0, 0.5, 0.1)
    ]
    assert spreads[0] > 1.5 * spreads[1] > 4 * spreads[2]


def white(share: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The paper's formula, one pair of latents at a time."""
    omega = np.arccos(np.dot(low, high) / np.linalg.norm(low) / np.linalg.norm(high))
    result: np.ndarray = (np.sin((1 - share) * omega) * low + np.sin(share * omega) * high) / np.sin(omega)
    return result


def test_latents_between_two_lie_on_a_great_circle() -> None:
    starts, ends = latents_from_seeds(torch.arange(6), 64), latents_from_seeds(100 + torch.arange(6), 64)
    latents = great_circle(starts, ends, 5)
    assert (latents.shape, latents.dtype) == ((6, 5, 64), torch.float32)
    assert torch.equal(latents[:, 0], starts)
    assert torch.equal(latents[:, -1], ends)
    for start, end, path in zip(starts.double().numpy(), ends.double().numpy(), latents.numpy(), strict=True):
        expected = np.stack([white(share, start, end) for share in (0, 0.25, 0.5, 0.75, 1)])
        assert np.abs(path - expected).max() < 1e-6


def test_unit_latents_turn_by_equal_angles_at_length_one() -> None:
    starts, ends = (latents_from_seeds(first + torch.arange(4), 16).double() for first in (0, 50))
    starts, ends = starts / starts.norm(dim=1, keepdim=True), ends / ends.norm(dim=1, keepdim=True)
    latents = great_circle(starts, ends, 9)
    assert torch.allclose(latents.norm(dim=2), torch.ones(4, 9, dtype=torch.float64), rtol=0, atol=1e-12)
    angles = torch.acos((latents[:, 1:] * latents[:, :-1]).sum(dim=2))
    whole = torch.acos((starts * ends).sum(dim=1, keepdim=True))
    assert torch.allclose(angles, (whole / 8).expand(4, 8), rtol=0, atol=1e-7)
    quarter = great_circle(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 3)[0]
    assert torch.allclose(quarter[1], torch.tensor([2**0.5, 2**0.5]), rtol=0, atol=1e-6)


def test_on_one_line_the_latents_follow_it() -> None:
    start = torch.tensor([[3.0, 4.0], [1.0, -2.0], [1.0, 1.0]])
    end = torch.tensor([[3.0, 4.0], [-1.0, 2.0], [3.0, 3.0]])
    latents = great_circle(start, end, 3)
    middle = torch.tensor([[3.0, 4.0], [0.0, 0.0], [2.0, 2.0]])
    assert torch.allclose(latents, torch.stack([start, middle, end], dim=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_between_two_seeds_begin_and_end_with_theirs(family: str) -> None:
    generator, _ = pair(family)
    generator.train()
    starts, ends = SEEDS, SEEDS.flip(0) // 2 + 3
    images = interpolate(generator, LABELS, starts, ends, 4)
    assert generator.training
    assert (images.shape, images.dtype, images.device.type) == ((28, 1, 8, 8), torch.uint8, "cpu")
    by_label = images.unflatten(0, (7, 4)).int()
    for place, seeds in ((0, starts), (-1, ends)):
        assert torch.equal(by_label[:, place], generate(generator, LABELS, seeds).int())
    first, last = (latents_from_seeds(seeds, generator.latent_size) for seeds in (starts, ends))
    latents = great_circle(first, last, 4)
    with torch.no_grad():
        between = to_uint8(generator.eval()(latents[:, 2], LABELS)).int()
    assert (by_label[:, 2] - between).abs().max() <= 1
    assert torch.equal(interpolate(generator, LABELS, starts, ends, 4), images)


@pytest.mark.parametrize("truncation", [1.0, 0.7])
@pytest.mark.parametrize("family", FAMILIES)
def test_images_between_two_classes_begin_and_end_with_theirs(family: str, truncation: float) -> None:
    generator, _ = pair(family)
    ends, end_labels = SEEDS.flip(0) // 2 + 3, (LABELS + 1) % CLASSES
    for end_seeds in (SEEDS, ends):
        images = interpolate(
            generator, LABELS, SEEDS, end_seeds, 5, end_labels=end_labels, truncation=truncation
        ).unflatten(0, (7, 5))
        assert torch.equal(images[:, 0], generate(generator, LABELS, SEEDS, truncation=truncation))
        assert torch.equal(images[:, -1], generate(generator, end_labels, end_seeds, truncation=truncation))
        first, last = (latents_from_seeds(seeds, generator.latent_size) * truncation for seeds in (SEEDS, end_seeds))
        weights = torch.zeros(7, CLASSES)
        weights[range(7), LABELS], weights[range(7), end_labels] = 0.75, 0.25
        with torch.no_grad():
            between = to_uint8(generator.eval()(great_circle(first, last, 5)[:, 1], weights)).int()
        assert (images[:, 1].int() - between).abs().max() <= 1
        assert not torch.equal(images[:, 1], images[:, 0])


def test_an_interpolation_needs_two_steps_and_equal_counts() -> None:
    generator, _ = pair()
    for steps in (1, 0, -3):
        with pytest.raises(ValueError, match=f"steps is {steps}"):
            interpolate(generator, LABELS, SEEDS, SEEDS, steps)
    with pytest.raises(ValueError, match=r"\(1,\)"):
        interpolate(generator, LABELS, SEEDS, SEEDS, 2, end_labels=LABELS[:1])
    for labels, starts, ends in ((LABELS[:1], SEEDS, SEEDS), (LABELS, SEEDS[:1], SEEDS), (LABELS, SEEDS, SEEDS[:1])):
        with pytest.raises(ValueError, match=r"\(1,\)"):
            interpolate(generator, labels, starts, ends, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_served_form_gives_the_same_images(family: str) -> None:
    generator, _ = pair(family)
    served = SeededGenerator(generator).eval()
    with torch.no_grad():
        floats = served(torch.stack([LABELS, SEEDS], dim=1), torch.ones(7))
    assert (floats.shape, floats.dtype) == ((7, 1, 8, 8), torch.float32)
    assert torch.equal(to_uint8(floats), generate(generator, LABELS, SEEDS))
    with torch.no_grad():
        latents = latents_from_seeds(SEEDS, generator.latent_size)
        assert torch.equal(floats, generator(latents, LABELS))
        truncation = torch.linspace(0.1, 1, 7)
        truncated = served(torch.stack([LABELS, SEEDS], dim=1), truncation)
        assert torch.equal(truncated, generator(latents * truncation[:, None], LABELS))


def test_the_served_form_can_be_traced_for_another_batch_size() -> None:
    served = SeededGenerator(pair("mlp")[0]).eval()
    batch = torch.export.Dim("batch", min=1, max=1000)
    traced = torch.export.export(
        served,
        (torch.stack([LABELS, SEEDS], dim=1), torch.ones(7)),
        dynamic_shapes=({0: batch}, {0: batch}),
    ).module()
    other = torch.tensor([[1, 77], [2, 2**40], [0, 3]])
    with torch.no_grad():
        assert torch.allclose(traced(other, torch.ones(3)), served(other, torch.ones(3)), rtol=0, atol=1e-6)
