import pytest
import torch

from src.data.prepared import Split
from src.evaluation.trivial import trivial_images
from tests.training.digits import digits


def test_the_images_have_mean_and_deviation_of_their_class() -> None:
    rng = torch.Generator().manual_seed(0)
    shades = torch.tensor([80, 160])[:, None, None, None]
    labels = torch.arange(4000) % 2
    pixels = shades[labels] + 10 * torch.randn(4000, 1, 2, 2, generator=rng)
    train = Split(pixels.round().to(torch.uint8), labels)
    asked = torch.tensor([1] * 3000 + [0] * 3000)
    images = trivial_images(train, asked, seed=0).double()
    assert images[:3000].mean(dim=0).flatten().tolist() == pytest.approx([160] * 4, abs=1)
    assert images[3000:].mean(dim=0).flatten().tolist() == pytest.approx([80] * 4, abs=1)
    assert images[:3000].std(dim=0).flatten().tolist() == pytest.approx([10] * 4, rel=0.1)
    neighbours = torch.corrcoef(images[:3000].flatten(1).T)
    assert (neighbours - torch.eye(4)).abs().max() < 0.1, "the noise of a pixel knows nothing of the next"


def test_the_seed_decides() -> None:
    labels = digits().test.labels[:50]
    first = trivial_images(digits().train, labels, seed=1)
    assert (first.shape, first.dtype) == ((50, 1, 8, 8), torch.uint8)
    assert torch.equal(trivial_images(digits().train, labels, seed=1), first)
    assert not torch.equal(trivial_images(digits().train, labels, seed=2), first)
