import math
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from src.networks.layers import EqualizedConv, EqualizedLinear, MinibatchDeviation, PixelNorm, apply_spectral_norm
from tests.networks.tiny import FAMILIES, batch, pair


@pytest.mark.parametrize("family", FAMILIES)
def test_spectral_norm_makes_the_largest_singular_value_one(family: str) -> None:
    _, discriminator = pair(family, spectral_norm=True)
    images, labels, _ = batch()
    for _ in range(200):  # a step of the power iteration each
        discriminator(images, labels)
    assert not any("parametrizations" in name for name, _ in pair(family)[1].named_parameters())
    weights = [one.weight for one in discriminator.modules() if isinstance(one, (nn.Linear, nn.Conv2d, nn.Embedding))]
    assert len(weights) >= 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_spectral_norm_is_in_full_precision_under_autocast_on_a_gpu(cuda_autocast: None) -> None:
    seen = list[tuple[str, torch.dtype]]()

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._schema.name in ("aten::mv", "aten::addmm"):
                seen.append((func._schema.name, args[-1].dtype))
            return func(*args, **(kwargs or {}))

    with FakeTensorMode(), torch.device("cuda"):
        layer = nn.Sequential(nn.Linear(6, 4))
        apply_spectral_norm(layer)
        with Note(), torch.autocast("cuda", torch.bfloat16):  # type: ignore[no-untyped-call]
            assert layer(torch.empty(3, 6)).dtype == torch.bfloat16
    assert seen == [("aten::mv", torch.float32)] * 3 + [("aten::addmm", torch.bfloat16)]


def test_apply_spectral_norm_leaves_norms_and_biases_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 4))
    apply_spectral_norm(network)
    assert [name for name, _ in network.named_parameters()] == [
        "0.bias", "0.parametrizations.weight.original", "1.weight", "1.bias", "2.bias", "2.parametrizations.weight.original",
    ]  # fmt: skip


def test_equalised_layers_keep_the_variance_and_have_standard_weights() -> None:
    torch.manual_seed(0)
    linear, convolution = EqualizedLinear(300, 400, gain=1), EqualizedConv(64, 96, 3)
    for layer in (linear, convolution):
        assert layer.weight.std().item() == pytest.approx(1, abs=0.02)
        assert layer.bias is not None
        assert not layer.bias.any()
    assert linear(torch.randn(50, 300)).std().item() == pytest.approx(1, abs=0.05)
    inner = convolution(torch.randn(4, 64, 12, 12))[:, :, 1:-1, 1:-1]  # at the edge, zeros come in
    assert inner.std().item() == pytest.approx(math.sqrt(2), abs=0.1)


@pytest.mark.parametrize("shape", [(3, 16), (3, 16, 4, 4)])
def test_pixel_norm_gives_every_vector_the_length_of_ones(shape: tuple[int, ...]) -> None:
    normed = PixelNorm()(torch.randn(*shape) * 700)
    assert torch.allclose(normed.square().mean(dim=1), torch.ones(shape[:1] + shape[2:]), atol=1e-5)


def test_the_minibatch_deviation_is_that_of_four_neighbours() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 2, 2)
    images[4:] = images[4]  # a group of equal images
    found = MinibatchDeviation()(images)
    assert found.shape == (8, 4, 2, 2)
    assert torch.equal(found[:, :3], images)
    expected = images[:4].std(dim=0, correction=0).mean()
    assert torch.allclose(found[:4, 3], expected.expand(4, 2, 2), atol=1e-6)
    assert found[4:, 3].max() <= 1.01e-4
    # Whatever comes behind a group in the batch does not change it: real images and fakes do not mix.
    assert torch.equal(MinibatchDeviation()(images[:4]), found[:4])


def test_fewer_images_than_a_group_are_one() -> None:
    assert MinibatchDeviation()(torch.randn(1, 3, 2, 2)).shape == (1, 4, 2, 2)
