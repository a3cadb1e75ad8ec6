import pytest
import torch
from torch import Tensor, nn

from src.training.penalties import l1_penalty, r1_penalty


class Linear(nn.Module):
    """<w, x>, times the label plus one."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return (images * self.weight).sum(dim=(1, 2, 3)) * (labels + 1)


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
        def forward(self, values: Tensor, labels: Tensor) -> Tensor:
            logits: Tensor = layers(values)
            return logits

    slopes = []
    for index in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[index] = step
        up, down = (float(layers(images + sign * shift.reshape(1, 1, 2, 2)).detach()) for sign in (1, -1))
        slopes.append((up - down) / (2 * step))
    penalty = r1_penalty(Network(), images, torch.tensor([0]))
    assert float(penalty.detach()) == pytest.approx(0.5 * sum(slope**2 for slope in slopes), rel=1e-6)


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
