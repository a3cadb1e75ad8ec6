import torch
from torch import nn

from src.networks.families.compact import CompactDiscriminator, CompactGenerator, Residual
from tests.networks.tiny import batch, pair


def networks(size: int = 8, dropout: float = 0.0) -> tuple[CompactGenerator, CompactDiscriminator]:
    generator, discriminator = pair("compact", size=size, dropout=dropout)
    assert isinstance(generator, CompactGenerator)
    assert isinstance(discriminator, CompactDiscriminator)
    return generator, discriminator


def test_residual_convolutions_are_added_at_each_size_below_the_full_one() -> None:
    generator, _ = networks(size=16)
    residuals = [layer for layer in generator.layers if isinstance(layer, Residual)]
    kernels = [one.weight for layer in residuals for one in layer.modules() if isinstance(one, nn.Conv2d)]
    assert [kernel.shape for kernel in kernels] == [(8, 8, 3, 3), (4, 4, 3, 3)]
    for kernel in kernels:
        nn.init.zeros_(kernel)
    _, labels, latents = batch()
    with torch.no_grad():
        images = generator(latents, labels)
        generator.layers = type(generator.layers)(*(one for one in generator.layers if not isinstance(one, Residual)))
        assert torch.equal(generator(latents, labels), images)


def test_an_image_is_judged_by_its_group_of_four_alone() -> None:
    _, discriminator = networks()
    images, labels, _ = batch()
    others = images.clone()
    others[7] = -others[7]
    with torch.no_grad():
        logits, changed = (discriminator(some, labels)[0] for some in (images, others))
        assert torch.equal(changed[:4], logits[:4])
        assert (changed[4:] != logits[4:]).all()
        nn.init.zeros_(discriminator.deviation)
        logits, changed = (discriminator(some, labels)[0] for some in (images, others))
        assert torch.equal(changed[:7], logits[:7])


def test_the_features_are_the_smallest_images_and_their_convolution_with_the_deviation() -> None:
    _, discriminator = networks()
    images, _, _ = batch(4)
    with torch.no_grad():
        small = discriminator.layers(images)
        deviation = small.std(dim=0, correction=0).mean()
        kernel, bias = discriminator.last.weight, discriminator.last.bias
        convolved = nn.functional.conv2d(small, kernel, bias, padding=1)
        expected = small + nn.functional.leaky_relu(convolved + deviation * discriminator.deviation[:, None, None], 0.2)
        assert torch.allclose(discriminator.features(images), expected.flatten(1), atol=1e-6)


def test_dropout_is_of_every_size() -> None:
    _, discriminator = networks(dropout=0.5)
    images, labels, _ = batch()
    assert [one.p for one in discriminator.modules() if isinstance(one, nn.Dropout)] == [0.5, 0.5]
    assert (discriminator(images, labels)[0] != discriminator(images, labels)[0]).all()
