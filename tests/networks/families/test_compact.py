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


def test_the_discriminator_is_that_of_dcgan() -> None:
    _, discriminator = networks(dropout=0.5)
    _, dcgan = pair("dcgan", dropout=0.5)
    dcgan.load_state_dict(discriminator.state_dict())
    images, labels, _ = batch()
    assert torch.equal(discriminator.eval()(images, labels)[0], dcgan.eval()(images, labels)[0])
