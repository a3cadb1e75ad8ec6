import pytest
import torch
from torch import Tensor, nn

from src.training.health import COLLAPSED, SATURATED_INTERVALS, Health, not_finite


def accuracies(real: float, fake: float) -> dict[str, float]:
    return {"real_accuracy": real, "fake_accuracy": fake}


def test_a_saturated_discriminator_is_told_once_when_it_lasts() -> None:
    health = Health()
    seen = [health.alarms(accuracies(1.0, 0.995), None) for _ in range(SATURATED_INTERVALS + 2)]
    assert [list(alarms) for alarms in seen] == [[], [], ["saturated"], [], []]
    assert "99.5% of real and fake images" in seen[2]["saturated"]
    assert "train.lr_discriminator" in seen[2]["saturated"]
    # It comes again after a better interval, and one side alone is no alarm.
    assert health.alarms(accuracies(1.0, 0.5), None) == {}
    assert [list(health.alarms(accuracies(1, 1), None)) for _ in range(3)] == [[], [], ["saturated"]]
    for _ in range(5):
        assert health.alarms(accuracies(0.2, 1.0), None) == {}


def test_a_critic_that_is_always_right_is_no_alarm() -> None:
    health = Health(critic=True)
    assert [health.alarms(accuracies(1, 1), None) for _ in range(5)] == [{}] * 5


def test_collapsed_classes_are_named_once_each() -> None:
    health, fine = Health(), accuracies(0.7, 0.7)
    diversity = torch.tensor([0.9, COLLAPSED * 0.9, torch.nan, 0.5])
    assert "class 1 are nearly identical" in health.alarms(fine, diversity)["collapsed"]
    assert health.alarms(fine, diversity) == {}
    diversity[3] = 0.0
    assert "class 3 are" in health.alarms(fine, diversity)["collapsed"]
    assert health.alarms(fine, torch.ones(4)) == {}
    assert "class 0, 1, 2, 3" in health.alarms(fine, torch.zeros(4))["collapsed"]


def test_the_state_of_alarms_goes_into_a_checkpoint() -> None:
    health = Health()
    health.alarms(accuracies(1, 1), torch.tensor([0.0, 1.0]))
    again = Health(**vars(health))
    assert again.alarms(accuracies(1, 1), torch.tensor([0.0, 1.0])) == {}
    assert list(again.alarms(accuracies(1, 1), None)) == ["saturated"]


def nets() -> tuple[dict[str, nn.Module], list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"generator": nn.Linear(3, 2), "discriminator": nn.Linear(3, 1)}
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(one.parameters(), fused=True) for one in networks.values()
    ]
    for network, optimizer in zip(networks.values(), optimizers, strict=True):
        network(torch.ones(4, 3)).sum().backward()
        optimizer.step()
    return networks, optimizers


def test_all_finite_is_nothing() -> None:
    assert not_finite(*nets()) == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_tensor_is_named(value: float) -> None:
    networks, optimizers = nets()
    weight, bias = networks["discriminator"].parameters()
    with torch.no_grad():
        weight[0, 1] = value
    assert bias.grad is not None
    bias.grad[0] = value
    average: Tensor = optimizers[0].state[next(networks["generator"].parameters())]["exp_avg_sq"]
    average[1, 2] = value
    assert not_finite(networks, optimizers) == [
        "generator.weight (exp_avg_sq)",
        "discriminator.weight",
        "discriminator.bias (gradient)",
    ]
