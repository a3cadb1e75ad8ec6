import pytest
import torch

from src.networks.latents import latents_from_seeds
from src.networks.sampling import SeededGenerator, generate
from src.pixels import to_uint8
from tests.networks.tiny import CLASSES, FAMILIES, pair

SEEDS = torch.tensor([0, 5, 2**62, 5, 2**63 - 1, 9, 1])
LABELS = torch.arange(7) % CLASSES


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_and_label_decide_the_image_in_any_batch(family: str) -> None:
    generator, _ = pair(family)
    images = generate(generator, LABELS, SEEDS)
    assert (images.shape, images.dtype, images.device.type) == ((7, 1, 8, 8), torch.uint8, "cpu")
    for batch_size in (1, 3, 7):
        again = generate(generator, LABELS, SEEDS, batch_size).int()
        assert (again - images.int()).abs().max() <= 1  # a float may fall to the other side of a rounding
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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_served_form_gives_the_same_images(family: str) -> None:
    generator, _ = pair(family)
    served = SeededGenerator(generator).eval()
    with torch.no_grad():
        floats = served(torch.stack([LABELS, SEEDS], dim=1))
    assert (floats.shape, floats.dtype) == ((7, 1, 8, 8), torch.float32)
    assert torch.equal(to_uint8(floats), generate(generator, LABELS, SEEDS))
    with torch.no_grad():
        assert torch.equal(floats, generator(latents_from_seeds(SEEDS, generator.latent_size), LABELS))


def test_the_served_form_can_be_traced_for_another_batch_size() -> None:
    served = SeededGenerator(pair("mlp")[0]).eval()
    traced = torch.export.export(
        served,
        (torch.stack([LABELS, SEEDS], dim=1),),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1000)},),
    ).module()
    other = torch.tensor([[1, 77], [2, 2**40], [0, 3]])
    with torch.no_grad():
        assert torch.allclose(traced(other), served(other), rtol=0, atol=1e-6)
