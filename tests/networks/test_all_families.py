"""What all families have in common."""

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.networks.conditioning import ConditionalBatchNorm
from src.networks.description import build, build_pair
from src.networks.family import find_family
from src.networks.interface import Generator
from tests.networks.tiny import FAMILIES, LATENT, PAIRS, batch, pair


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def logits_or_images(output: Tensor | tuple[Tensor, Tensor | None]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def as_trained(generator: Generator) -> Generator:
    """In evaluation mode, with the statistics of its layers, and other gains for each class in conditional batch norms."""
    _, labels, latents = batch()
    for module in generator.modules():
        if isinstance(module, ConditionalBatchNorm):
            nn.init.normal_(module.gain, 1, 0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        generator(latents, labels)
    return generator.eval()


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_images_and_logits_have_their_shapes(family: str, conditioning: str, channels: int, size: int) -> None:
    generator, discriminator = pair(family, conditioning, channels=channels, size=size)
    _, labels, latents = batch(4)
    images = generator(10 * latents, labels)
    assert (images.shape, images.dtype) == ((4, channels, size, size), torch.float32)
    assert images.detach().abs().max() <= 1
    logits, classes = discriminator(images, labels)
    assert logits.shape == (4,)
    assert (classes is not None and classes.shape == (4, 3)) == (conditioning == "auxiliary")
    assert generator.latent_size == LATENT


@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_the_weights_of_one_class_are_its_label(family: str, conditioning: str) -> None:
    generator = as_trained(pair(family, conditioning)[0])
    _, labels, latents = batch()
    with torch.no_grad():
        images = generator(latents, labels)
        assert torch.equal(generator(latents, nn.functional.one_hot(labels, generator.class_count).float()), images)
        mixed = generator(latents, torch.full((len(labels), generator.class_count), 1 / 3))
    assert torch.equal(mixed, images) == (conditioning == "none")


@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_the_label_changes_the_output_if_and_only_if_conditional(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    as_trained(generator)
    images, labels, latents = batch()
    others = (labels + 1) % 3
    with torch.no_grad():
        for network, values in ((generator, latents), (discriminator.eval(), images)):
            before, after = (logits_or_images(network(values, some)) for some in (labels, others))
            change = (before - after).abs().reshape(len(labels), -1).amax(dim=1)
            # An auxiliary head tells the label, and is not told it.
            blind = conditioning == "none" or (conditioning == "auxiliary" and network is discriminator)
            assert (change == 0).all() if blind else (change > 1e-4).all()


@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_the_gradient_reaches_every_parameter(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    _, labels, latents = batch()
    logits, classes = discriminator(generator(latents, labels), labels)
    (logits.square().sum() + (0 if classes is None else classes.square().sum())).backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if name.startswith(("to_image.0", "from_image.0")):
                continue  # of a size that it has outgrown
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_in_evaluation_mode_an_image_does_not_depend_on_its_batch(family: str, conditioning: str) -> None:
    generator, discriminator = pair(family, conditioning)
    images, labels, latents = batch()
    with torch.no_grad():
        generator(latents, labels)  # moves the statistics of batch normalisation away from their start
        for network, values in ((generator.eval(), latents), (discriminator.eval(), images)):
            if network is discriminator and discriminator.batch_multiple > 1:
                continue  # it compares the images of a batch on purpose
            together = logits_or_images(network(values, labels))
            alone = torch.cat(
                [logits_or_images(network(values[n : n + 1], labels[n : n + 1])) for n in range(len(labels))]
            )
            assert torch.allclose(together, alone, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("conditioning", "more_g", "more_d"),
    [
        ("none", 0, 0),
        ("concat", 2560, 10240),
        ("embedding", 2560 + 100, 10240 + 100),
        ("projection", 2560, 2560),
        ("auxiliary", 2560, 2570),
    ],
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
        spectral_norm=False,
    )
    # 100-256-512-1024-784 and 784-1024-512-256-1, each layer with a bias.
    assert count(generator) == 25_856 + 131_584 + 525_312 + 803_600 + more_g
    assert count(discriminator) == 803_840 + 524_800 + 131_328 + 257 + more_d
    assert [module.p for module in discriminator.modules() if isinstance(module, nn.Dropout)] == [0.3] * 3
    assert not [module for module in generator.modules() if isinstance(module, nn.Dropout)]


def test_the_dcgan_has_the_parameters_counted_by_hand() -> None:
    generator, discriminator = pair("dcgan", "projection", channels=3)
    start, same, first, second = (5 + 3) * 8 * 4, 8 * 8 * 9, 8 * 4 * 16, 4 * 3 * 16 + 3
    norms = 2 * 8 + 2 * 8 + 2 * 4
    assert count(generator) == start + same + first + second + norms
    assert count(discriminator) == (3 * 4 * 16 + 4) + (4 * 8 * 16 + 8) + (8 * 8 * 9 + 8) + (32 + 1) + 3 * 32


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_acts_in_the_discriminator_while_it_trains(family: str) -> None:
    _, discriminator = pair(family, "none", dropout=0.5)
    images, labels, _ = batch()
    assert not torch.equal(discriminator(images, labels)[0], discriminator(images, labels)[0])
    discriminator.eval()
    assert torch.equal(discriminator(images, labels)[0], discriminator(images, labels)[0])


@pytest.mark.parametrize("family", [one for one in FAMILIES if one != "mlp"])
def test_a_size_that_a_family_cannot_make_is_refused(family: str) -> None:
    with pytest.raises(
        UserError, match=rf"^model\.family {family} does not support 30 x 30 images; .* are .*8, .*28, 32, "
    ):
        pair(family, size=30)
    assert pair("mlp", size=30)[0](torch.zeros(1, 5), torch.tensor([0])).shape == (1, 1, 30, 30)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conditioning_that_a_family_has_not_is_refused(family: str) -> None:
    if "batch_norm" in find_family(family).conditionings:
        return
    with pytest.raises(
        UserError,
        match=rf"^model\.conditioning: batch_norm is not supported by model\.family {family}, which has none,",
    ):
        pair(family, "batch_norm")


def test_wider_networks_have_more_weights() -> None:
    for family in ("dcgan", "resnet", "progressive"):
        narrow = pair(family)[0].description
        wide = build({**narrow, "options": {**narrow["options"], "width": 16}})
        assert count(wide) > 1.9 * count(build(narrow))
