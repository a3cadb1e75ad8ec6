from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from src.core.errors import UserError
from src.evaluation.evaluator import Evaluator, checked_images, pixel_range
from src.evaluation.metric import need
from src.networks.interface import Generator
from tests.training.digits import digits, real_images

REAL = digits().test.images[:150]
LABELS, SEEDS = torch.arange(150) % 10, torch.arange(150)


class Fixed(Generator):
    """Gives real images after some change of the floats in [-1, 1]."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.latent_size, self.conditional, self.change = 2, True, change
        self.shown = 0
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        images = digits().train.images[self.shown : self.shown + len(labels)]
        self.shown += len(labels)
        return self.change(images.float() / 127.5 - 1)


def check(change: Callable[[Tensor], Tensor]) -> list[str]:
    return checked_images(Fixed(change), LABELS, SEEDS, REAL)[1]


def test_good_images_pass_without_a_warning() -> None:
    images, warnings = checked_images(Fixed(lambda images: images), LABELS, SEEDS, REAL)
    assert torch.equal(images, digits().train.images[:150])
    assert warnings == []


def test_a_nan_in_each_batch_is_found() -> None:
    def broken(images: Tensor) -> Tensor:
        images[7, 0, 0, 0] = torch.nan
        return images

    with pytest.raises(UserError, match="gives NaN or infinite pixels, in 2 of 150 images"):
        check(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (images + 1) / 2, r"pixels from 0 to 1, and real images go down to -1; this looks like 0\.\.1"),
        (lambda images: (images + 1) * 127.5, r"pixels from 0 to 255; this looks like 0\.\.255; it must give -1"),
        (lambda images: images * 3, r"pixels from -3 to 3; it must give -1"),
    ],
)
def test_a_wrong_range_is_named(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(change)


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda images: images[:, :, :6, :6], r"\(1, 6, 6\)"),
        (lambda images: images.expand(-1, 3, -1, -1), r"\(3, 8, 8\)"),
    ],
)
def test_another_size_or_number_of_channels_is_named(change: Callable[[Tensor], Tensor], shape: str) -> None:
    with pytest.raises(UserError, match=rf"gives images of {shape} .*, the data has \(1, 8, 8\)"):
        check(change)


def test_pale_images_are_a_warning() -> None:
    (warning,) = check(lambda images: images * 0.5)
    assert "generated images go from 64 to 191, those of real ones from 0 to 255" in warning
    assert check(lambda images: images * 0.95) == []


def test_the_range_leaves_out_the_rarest_pixels() -> None:
    pixels = torch.full((10_000,), 100, dtype=torch.uint8)
    pixels[:5], pixels[5:5000], pixels[-5:] = 0, 50, 255
    assert pixel_range(pixels) == (50, 100)
    pixels[:20] = 0
    assert pixel_range(pixels) == (0, 100)


def test_too_few_images_name_the_metric_and_the_parameter() -> None:
    need(6, 6, "anything")
    with pytest.raises(UserError, match=r"precision: needs at least 6 images, there are 5; raise evaluate\.samples"):
        need(5, 6, "precision")


def test_images_are_resampled_within_their_own_classes() -> None:
    evaluator = Evaluator(real_images(), "test", count=200, resample_count=8)
    known = real_images().scored("validation").head(200)
    held_out = evaluator.complete(known)
    assert held_out.train_distances is known.train_distances
    assert not torch.equal(held_out.labels, evaluator.labels)
    for label in range(10):
        counts = held_out.weights[:, held_out.labels == label].sum(dim=1)
        assert (counts == int((held_out.labels == label).sum())).all()
    assert not torch.equal(held_out.weights, evaluator.real.weights)
