import copy

import torch
from torch.nn import functional as F

from src.networks.families.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from src.networks.interface import Growing
from tests.networks.tiny import batch, pair


def networks(size: int = 16) -> tuple[ProgressiveGenerator, ProgressiveDiscriminator]:
    generator, discriminator = pair("progressive", size=size)
    assert isinstance(generator, ProgressiveGenerator)
    assert isinstance(discriminator, ProgressiveDiscriminator)
    return generator, discriminator


def test_each_size_has_equal_time_and_fades_in_for_half_of_it() -> None:
    grown = networks(32)[0].grown  # 4, 8, 16, 32
    found = []
    for share in (0, 0.1, 0.2, 0.25, 0.34, 0.5, 0.6, 0.7, 0.95, 1):
        grown.grow(share)
        found.append((*grown.stage, round(float(grown.growth), 3)))
    assert found == [
        (0, False, 0),
        (0, False, 0),
        (1, True, 0.2),
        (1, True, 0.5),
        (1, False, 1),
        (1, False, 1),
        (2, True, 1.6),
        (2, False, 2),
        (3, True, 2.7),
        (3, False, 3),
    ]


def test_a_built_network_has_its_full_size() -> None:
    assert [part.stage for one in networks() for part in one.modules() if isinstance(part, Growing)] == [(2, False)] * 2


def test_a_small_generator_makes_small_images_enlarged() -> None:
    generator, _ = networks()
    _, labels, latents = batch()
    for share, block in ((0.0, 4), (0.5, 2), (1.0, 1)):
        generator.grown.grow(share)
        images = generator(latents, labels).detach()
        assert images.shape == (8, 1, 16, 16)
        small = F.avg_pool2d(images, block)
        assert torch.allclose(F.interpolate(small, scale_factor=float(block)), images, atol=1e-6)
        assert block == 1 or not torch.allclose(
            F.interpolate(F.avg_pool2d(images, 2 * block), scale_factor=2.0 * block), images
        )


def test_fading_goes_from_the_smaller_images_to_the_larger_ones() -> None:
    generator, discriminator = networks()
    images, labels, latents = batch(size=16)

    def both(growth: float) -> tuple[torch.Tensor, torch.Tensor]:
        for one in (generator, discriminator):
            one.grown._set(growth)
        with torch.no_grad():
            return torch.atanh(generator(latents, labels)), discriminator(images, labels)[0]

    before, after = both(1), both(2)
    start, end = both(1 + 1e-6), both(2 - 1e-6)
    half = both(1.5)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(before, start, strict=True))
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(after, end, strict=True))
    assert torch.allclose(half[0], (before[0] + after[0]) / 2, atol=1e-5)
    assert not torch.allclose(half[1], before[1])


def test_a_small_discriminator_sees_no_detail() -> None:
    _, discriminator = networks()
    discriminator.eval()
    images, labels, _ = batch(size=16)
    blurred = F.interpolate(F.avg_pool2d(images, 4), scale_factor=4.0)
    for share, equal in ((0.0, True), (1.0, False)):
        discriminator.grown.grow(share)
        assert torch.allclose(discriminator(images, labels)[0], discriminator(blurred, labels)[0], atol=1e-6) == equal


def test_only_layers_at_work_have_a_gradient() -> None:
    generator, discriminator = networks()
    _, labels, latents = batch()
    for one in (generator, discriminator):
        one.grown.grow(0)
    discriminator(generator(latents, labels), labels)[0].sum().backward()
    idle = {
        name for one in (generator, discriminator) for name, weight in one.named_parameters() if weight.grad is None
    }
    assert idle == {
        f"{kind}.{level}.{inner}"
        for kind, levels, inners in (
            ("blocks", (1, 2), ("0.weight", "0.bias", "3.weight", "3.bias")),
            ("to_image", (1, 2), ("weight", "bias")),
            ("blocks", (0, 1), ("0.weight", "0.bias", "2.weight", "2.bias")),
            ("from_image", (1, 2), ("0.weight", "0.bias")),
        )
        for level in levels
        for inner in inners
    }


def test_how_far_it_has_grown_is_part_of_its_weights() -> None:
    generator, _ = networks()
    _, labels, latents = batch()
    generator.grown._set(1.25)
    other = networks()[0]
    other.load_state_dict(copy.deepcopy(generator.state_dict()))
    assert other.grown.stage == (2, True)
    assert torch.equal(other(latents, labels), generator(latents, labels))
