from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.params import Train
from src.training.losses import LOSSES

RNG = torch.Generator().manual_seed(0)
REAL, FAKE = 3 * torch.randn(50, generator=RNG), 3 * torch.randn(50, generator=RNG)
ONES, ZEROS = torch.ones(50), torch.zeros(50)


def gradient(loss: Tensor, logits: Tensor) -> list[float]:
    (found,) = torch.autograd.grad(loss, logits)
    return [float(value) for value in found]


def test_every_loss_of_the_parameters_is_here() -> None:
    assert tuple(LOSSES) == get_args(Train.model_fields["loss"].annotation)


def test_bce_is_torchs_binary_cross_entropy() -> None:
    loss, reference = LOSSES["bce"], F.binary_cross_entropy_with_logits
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(
        float(reference(REAL, ONES) + reference(FAKE, ZEROS)), rel=1e-6
    )
    assert loss.generator(FAKE).item() == pytest.approx(float(reference(FAKE, ONES)), rel=1e-6)
    assert loss.discriminator(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(2 * 0.6931472)


def test_least_squares_is_torchs_mse() -> None:
    loss = LOSSES["least_squares"]
    expected = 0.5 * float(F.mse_loss(REAL, ONES) + F.mse_loss(FAKE, ZEROS))
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    assert loss.generator(FAKE).item() == pytest.approx(0.5 * float(F.mse_loss(FAKE, ONES)), rel=1e-6)


def test_hinge_is_what_a_hand_computes() -> None:
    loss = LOSSES["hinge"]
    real, fake = torch.tensor([3.0, 0.5, -1.0]), torch.tensor([-2.0, 0.25, -1.0])
    assert loss.discriminator(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1.25 + 0) / 3)
    assert loss.generator(fake).item() == pytest.approx(2.75 / 3)


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        # The gradient of the loss at logits of -200 and +200: what pulls a lost game back must not vanish.
        ("bce", [-1, 0], [0, 1], [-1, 0]),
        ("least_squares", [-201, 199], [-200, 200], [-201, 199]),
        ("hinge", [-1, 0], [0, 1], [-1, -1]),
    ],
)
def test_losses_and_gradients_are_finite_at_large_logits(
    name: str, real: list[float], fake: list[float], generator: list[float]
) -> None:
    loss = LOSSES[name]
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    constant = torch.zeros(2)
    for value, expected in (
        (loss.discriminator(logits, constant), real),
        (loss.discriminator(constant, logits), fake),
        (loss.generator(logits), generator),
    ):
        assert value.isfinite()
        assert [2 * one for one in gradient(value, logits)] == pytest.approx(expected, abs=1e-6)  # mean of two
