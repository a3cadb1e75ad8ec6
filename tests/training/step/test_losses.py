from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.params import Train
from src.training.step.losses import find_loss, gradient_penalty, l1_penalty, r1_penalty

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


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("bce", cross_entropy(REAL, ONES) + cross_entropy(FAKE, ZEROS), cross_entropy(FAKE, ONES)),
        ("least_squares", (F.mse_loss(REAL, ONES) + F.mse_loss(FAKE, ZEROS)) / 2, F.mse_loss(FAKE, ONES) / 2),
        ("hinge", (1 - REAL).clamp(min=0).mean() + (1 + FAKE).clamp(min=0).mean(), -FAKE.mean()),
        ("wasserstein", FAKE.mean() - REAL.mean(), -FAKE.mean()),
        ("relativistic", (1 + (FAKE - REAL).exp()).log().mean(), (1 + (REAL - FAKE).exp()).log().mean()),
    ],
)
def test_losses_are_those_of_the_papers(name: str, discriminator: Tensor, generator: Tensor) -> None:
    loss = find_loss(name)
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(discriminator.item(), rel=1e-5)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(generator.item(), rel=1e-5)
    # A constant on all logits cancels where only differences of logits are meaningful.
    assert (loss.boundary is None) == (name in ("wasserstein", "relativistic"))
    if loss.boundary is None:
        assert loss.discriminator(REAL + 5, FAKE + 5).item() == pytest.approx(discriminator.item(), rel=1e-4)


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


class Linear(nn.Module):
    """<w, x>, times the label plus one."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        return (images * self.weight).sum(dim=(1, 2, 3)) * (labels + 1), None


def test_r1_of_a_linear_discriminator_is_half_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    network, square = Linear(weight), float(weight.square().sum())
    for count in (1, 7):
        penalty = r1_penalty(network, torch.rand(count, 3, 4, 4), torch.zeros(count, dtype=torch.int64))
        assert penalty.item() == pytest.approx(0.5 * square, rel=1e-6)
    by_label = r1_penalty(network, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
    assert by_label.item() == pytest.approx(0.5 * (1 + 4) / 2 * square, rel=1e-6)


def test_r1_trains_the_discriminator_and_leaves_the_images_alone() -> None:
    weight = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0))
    network, images = Linear(weight), torch.rand(5, 1, 4, 4)
    r1_penalty(network, images, torch.zeros(5, dtype=torch.int64)).backward()
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, weight, atol=1e-6)  # of half |w|^2
    assert not images.requires_grad
    assert images.grad is None


def test_r1_of_a_network_agrees_with_finite_differences() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1), nn.Flatten(0)).double()
    images, step = torch.rand(1, 1, 2, 2, dtype=torch.float64), 1e-5

    class Network(nn.Module):
        def forward(self, values: Tensor, labels: Tensor) -> tuple[Tensor, None]:
            return layers(values), None

    slopes = []
    for index in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[index] = step
        up, down = (float(layers(images + sign * shift.reshape(1, 1, 2, 2)).detach()) for sign in (1, -1))
        slopes.append((up - down) / (2 * step))
    penalty = r1_penalty(Network(), images, torch.tensor([0]))
    assert float(penalty.detach()) == pytest.approx(0.5 * sum(slope**2 for slope in slopes), rel=1e-6)


def test_the_gradient_penalty_of_a_linear_critic_is_how_far_its_slope_is_from_one() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    network, norm = Linear(weight), float(weight.norm())
    real, fake = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    penalty = gradient_penalty(network, real, fake, torch.tensor([0, 1]), torch.rand(2, 1, 1, 1))
    assert penalty.item() == pytest.approx(((norm - 1) ** 2 + (2 * norm - 1) ** 2) / 2, rel=1e-5)
    penalty.backward()
    assert network.weight.grad is not None


def test_the_gradient_penalty_is_taken_between_the_images() -> None:
    class Square(nn.Module):
        def forward(self, values: Tensor, labels: Tensor) -> tuple[Tensor, None]:
            return values.square().sum(dim=(1, 2, 3)), None  # its slope at x is 2 x

    real, fake = torch.full((3, 1, 1, 1), 4.0), torch.full((3, 1, 1, 1), 2.0)
    positions = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
    penalty = gradient_penalty(Square(), real, fake, torch.zeros(3, dtype=torch.int64), positions)
    assert penalty.item() == pytest.approx((7**2 + 5**2 + 3**2) / 3, rel=1e-5)


def test_a_critic_without_slope_has_a_finite_penalty_and_gradient() -> None:
    network = Linear(torch.zeros(1, 2, 2))
    some = torch.rand(2, 1, 2, 2)
    penalty = gradient_penalty(network, some, some, torch.tensor([0, 0]), torch.rand(2, 1, 1, 1))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert network.weight.grad is not None
    assert network.weight.grad.isfinite().all()


def test_l1_counts_weights_and_no_biases_or_norms() -> None:
    layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Conv1d(1, 1, 2))
    with torch.no_grad():
        layers.get_parameter("0.weight").copy_(torch.tensor([[1.0, -2], [0.5, 0]]))
        layers.get_parameter("0.bias").fill_(100)
        layers.get_parameter("1.weight").fill_(100)
        layers.get_parameter("2.weight").copy_(torch.tensor([[[-3.0, 4]]]))
        layers.get_parameter("2.bias").fill_(100)
    penalty = l1_penalty(layers.parameters())
    assert penalty.item() == 3.5 + 7
    penalty.backward()
    assert layers.get_parameter("0.weight").grad.tolist() == [[1, -1], [1, 0]]  # type: ignore[union-attr]
    assert layers.get_parameter("0.bias").grad is None
