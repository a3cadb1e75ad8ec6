"""What both families have in common: mlp.py and dcgan.py."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.networks.description import build_pair
from tests.networks.tiny import CONDITIONINGS, FAMILIES, LATENT, batch, pair


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_images_and_logits_have_their_shapes(family: str, conditioning: str, channels: int, size: int) -> None:
    generator, discriminator = pair(family, conditioning, channels=channels, size=size)
    _, labels, latents = batch(4)
    images = generator(10 * latents, labels)
    assert (images.shape, images.dtype) == ((4, channels, size, size), torch.float32)
    assert images.detach().abs().max() <= 1
    assert discriminator(images, labels).shape == (4,)
    assert generator.latent_size == LATENT


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_of_one_class_are_its_label(family: str, conditioning: str) -> None:
    generator = pair(family, conditioning)[0].eval()
    _, labels, latents = batch()
    with torch.no_grad():
        images = generator(latents, labels)
        assert torch.equal(generator(latents, nn.functional.one_hot(labels, generator.class_count).float()), images)
        mixed = generator(latents, torch.full((len(labels), generator.class_count), 1 / 3))
    assert torch.equal(mixed, images) == (conditioning == "none")


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_label_changes_the_output_if_and_only_if_conditional(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    images, labels, latents = batch()
    others = (labels + 1) % 3
    with torch.no_grad():
        for network, values in ((generator.eval(), latents), (discriminator.eval(), images)):
            change = (network(values, labels) - network(values, others)).abs().reshape(len(labels), -1).amax(dim=1)
            assert (change == 0).all() if conditioning == "none" else (change > 1e-4).all()


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_reaches_every_parameter(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    _, labels, latents = batch()
    discriminator(generator(latents, labels), labels).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_in_evaluation_mode_an_image_does_not_depend_on_its_batch(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    images, labels, latents = batch()
    with torch.no_grad():
        generator(latents, labels)  # moves the statistics of batch normalisation away from their start
        for network, values in ((generator.eval(), latents), (discriminator.eval(), images)):
            together = network(values, labels)
            alone = torch.cat([network(values[n : n + 1], labels[n : n + 1]) for n in range(len(labels))])
            assert torch.allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("conditioning", "more_g", "more_d"), [("none", 0, 0), ("concat", 2560, 10240), ("projection", 2560, 2560)]
)
def test_the_classic_mlp_has_the_parameters_counted_by_hand(conditioning: str, more_g: int, more_d: int) -> None:
    generator, discriminator = build_pair(
        "mlp",
        conditioning=conditioning,
        channels=1,
        image_size=28,
        class_count=10,
        latent_size=100,
        hidden_sizes=[256, 512, 1024],
        dropout=0.3,
    )
    # 100-256-512-1024-784 and 784-1024-512-256-1, each layer with a bias.
    assert count(generator) == 25_856 + 131_584 + 525_312 + 803_600 + more_g
    assert count(discriminator) == 803_840 + 524_800 + 131_328 + 257 + more_d
    assert [module.p for module in discriminator.modules() if isinstance(module, nn.Dropout)] == [0.3] * 3
    assert not [module for module in generator.modules() if isinstance(module, nn.Dropout)]


def test_the_dcgan_has_the_parameters_counted_by_hand() -> None:
    generator, discriminator = pair("dcgan", "projection", channels=3)
    start, same, first, second = (5 + 3) * 6 * 4, 6 * 6 * 9, 6 * 3 * 16, 3 * 3 * 16 + 3
    norms = 2 * 6 + 2 * 6 + 2 * 3
    assert count(generator) == start + same + first + second + norms
    assert count(discriminator) == (3 * 3 * 16 + 3) + (3 * 6 * 16 + 6) + (6 * 6 * 9 + 6) + (24 + 1) + 3 * 24


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_acts_in_the_discriminator_while_it_trains(family: str) -> None:
    _, discriminator = pair(family, "none", dropout=0.5)
    images, labels, _ = batch()
    assert not torch.equal(discriminator(images, labels), discriminator(images, labels))
    discriminator.eval()
    assert torch.equal(discriminator(images, labels), discriminator(images, labels))


def test_dcgan_refuses_a_size_that_it_cannot_make() -> None:
    with pytest.raises(UserError, match=r"^model\.family dcgan cannot make 30 x 30 images: .* multiple of 4$"):
        pair("dcgan", size=30)
    assert pair("mlp", size=30)[0](torch.zeros(1, 5), torch.tensor([0])).shape == (1, 1, 30, 30)
