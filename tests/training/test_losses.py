from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.params import Train
from src.training.losses import find_loss

RNG = torch.Generator().manual_seed(0)
REAL, FAKE = 3 * torch.randn(50, generator=RNG), 3 * torch.randn(50, generator=RNG)
ONES, ZEROS = torch.ones(50), torch.zeros(50)


def gradient(loss: Tensor, logits: Tensor) -> list[float]:
    (found,) = torch.autograd.grad(loss, logits)
    return [float(value) for value in found]


@pytest.mark.parametrize("name", get_args(Train.model_fields["loss"].annotation))
def test_every_loss_of_the_parameters_is_here(name: str) -> None:
    loss = find_loss(name)
    # The discriminator gains when real images get a higher logit and fakes a lower one; the generator when fakes get a higher.
    assert loss.discriminator(REAL + 0.1, FAKE) < loss.discriminator(REAL, FAKE + 0.1)
    assert loss.generator(REAL, torch.full_like(FAKE, 0.5)) < loss.generator(REAL, torch.full_like(FAKE, -0.5))


def test_bce_is_torchs_binary_cross_entropy() -> None:
    loss, reference = find_loss("bce"), F.binary_cross_entropy_with_logits
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(
        float(reference(REAL, ONES) + reference(FAKE, ZEROS)), rel=1e-6
    )
    assert loss.generator(REAL, FAKE).item() == pytest.approx(float(reference(FAKE, ONES)), rel=1e-6)
    assert loss.discriminator(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(2 * 0.6931472)


def test_least_squares_is_torchs_mse() -> None:
    loss = find_loss("least_squares")
    expected = 0.5 * float(F.mse_loss(REAL, ONES) + F.mse_loss(FAKE, ZEROS))
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(0.5 * float(F.mse_loss(FAKE, ONES)), rel=1e-6)


def test_hinge_is_what_a_hand_computes() -> None:
    loss = find_loss("hinge")
    real, fake = torch.tensor([3.0, 0.5, -1.0]), torch.tensor([-2.0, 0.25, -1.0])
    assert loss.discriminator(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1.25 + 0) / 3)
    assert loss.generator(real, fake).item() == pytest.approx(2.75 / 3)


def test_wasserstein_is_a_difference_of_means() -> None:
    loss = find_loss("wasserstein")
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(float(FAKE.mean() - REAL.mean()), rel=1e-6)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(float(-FAKE.mean()), rel=1e-6)
    assert loss.boundary is None


def test_relativistic_is_the_cross_entropy_of_the_difference_of_each_pair() -> None:
    loss = find_loss("relativistic")
    assert loss.paired
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(
        float((1 + (FAKE - REAL).exp()).log().mean()), rel=1e-5
    )
    assert loss.generator(REAL, FAKE).item() == pytest.approx(float((1 + (REAL - FAKE).exp()).log().mean()), rel=1e-5)
    # What all logits have in common is no matter.
    assert loss.discriminator(REAL + 5, FAKE + 5).item() == pytest.approx(
        loss.discriminator(REAL, FAKE).item(), rel=1e-5
    )


@pytest.mark.parametrize("name", ["bce", "least_squares"])
def test_label_smoothing_lowers_the_target_of_real_images_alone(name: str) -> None:
    plain, smooth = find_loss(name), find_loss(name, 0.1)
    logits = torch.linspace(-4, 4, 801)
    best = logits[torch.stack([smooth.discriminator(one[None], torch.zeros(1)) for one in logits]).argmin()]
    expected = 0.9 if name == "least_squares" else float(torch.logit(torch.tensor(0.9)))
    assert best.item() == pytest.approx(expected, abs=0.01)
    assert smooth.generator(REAL, FAKE) == plain.generator(REAL, FAKE)
    fakes = [one.discriminator(REAL, FAKE) - one.discriminator(REAL, ZEROS) for one in (plain, smooth)]
    assert fakes[0].item() == pytest.approx(fakes[1].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        # The gradient of the loss at logits of -200 and +200: what pulls a lost game back must not vanish.
        ("bce", [-1, 0], [0, 1], [-1, 0]),
        ("least_squares", [-201, 199], [-200, 200], [-201, 199]),
        ("hinge", [-1, 0], [0, 1], [-1, -1]),
        ("wasserstein", [-1, -1], [1, 1], [-1, -1]),
        ("relativistic", [-1, 0], [0, 1], [-1, 0]),
    ],
)
def test_losses_and_gradients_are_finite_at_large_logits(
    name: str, real: list[float], fake: list[float], generator: list[float]
) -> None:
    loss = find_loss(name)
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    constant = torch.zeros(2)
    for value, expected in (
        (loss.discriminator(logits, constant), real),
        (loss.discriminator(constant, logits), fake),
        (loss.generator(constant, logits), generator),
    ):
        assert value.isfinite()
        assert [2 * one for one in gradient(value, logits)] == pytest.approx(expected, abs=1e-6)  # mean of two
