from typing import Any

import pytest
import torch
from torch import nn

from src.params import Train
from src.training.optimizers import LearningRates, Schedule, make_optimizer


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.4, 0.8), "weight_decay": 0.1}),
        ("adamw", torch.optim.AdamW, {"betas": (0.4, 0.8), "weight_decay": 0.1}),
        ("sgd", torch.optim.SGD, {"momentum": 0.4, "weight_decay": 0.1, "nesterov": False}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.4, "alpha": 0.8, "weight_decay": 0.1}),
    ],
)
def test_the_parameters_arrive_in_the_optimiser(name: Any, kind: type, settings: dict[str, Any]) -> None:
    network = nn.Linear(2, 3)
    optimizer = make_optimizer(network, Train(optimizer=name, beta1=0.4, beta2=0.8, weight_decay=0.1), lr=0.25)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {key: group[key] for key in settings} == settings
    assert group["lr"] == 0.25
    assert [id(one) for one in group["params"]] == [id(one) for one in network.parameters()]


def test_sgd_moves_by_rate_times_gradient_and_decay() -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    optimizer = make_optimizer(weight, Train(optimizer="sgd", beta1=0.0, weight_decay=0.5), lr=0.1)
    weight(torch.tensor([[3.0]])).sum().backward()
    optimizer.step()
    assert weight.weight.item() == pytest.approx(2 - 0.1 * (3 + 0.5 * 2))


@pytest.mark.parametrize(
    ("decay_from", "at", "factor"),
    [
        (0.5, 0, 1),
        (0.5, 50, 1),
        (0.5, 51, 0.98),
        (0.5, 75, 0.5),
        (0.5, 99, 0.02),
        (0.5, 100, 0),
        (0.5, 101, 0),
        (0.0, 0, 1),
        (0.0, 25, 0.75),
        (0.0, 100, 0),
        (1.0, 0, 1),
        (1.0, 99, 1),
        (1.0, 100, 1),
    ],
)
def test_the_rate_is_constant_and_then_falls_to_zero(decay_from: float, at: int, factor: float) -> None:
    assert Schedule(100, "linear", decay_from)(at) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("at", "factor"), [(0, 1), (50, 1), (60, 0.904508), (75, 0.5), (90, 0.095492), (99, 0.000987), (100, 0)]
)
def test_a_cosine_falls_slowly_then_fast_then_slowly(at: int, factor: float) -> None:
    assert Schedule(100, "cosine", 0.5)(at) == pytest.approx(factor, abs=1e-6)


def test_the_rate_rises_first() -> None:
    schedule = Schedule(100, "linear", 0.5, warmup=0.1)
    assert [schedule(step) for step in (0, 4, 9, 10, 40, 75)] == pytest.approx([0.1, 0.5, 1, 1, 1, 0.5])


def test_the_rates_are_set_before_every_step_and_halve_with_the_scale() -> None:
    optimizers = [make_optimizer(nn.Linear(1, 1), Train(optimizer="sgd"), lr=rate) for rate in (0.2, 0.4)]
    rates = LearningRates(optimizers, (0.2, 0.4), Schedule(4, decay_from=0.5))
    seen = []
    for step in range(4):
        rates.apply(step)
        seen.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
    assert seen == [pytest.approx(row) for row in ([0.2, 0.4], [0.2, 0.4], [0.2, 0.4], [0.1, 0.2])]
    assert rates.at(4) == (0, 0)
    rates.scale = 0.5
    rates.apply(3)
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.1)


def test_the_scale_is_restored_and_the_next_step_sets_the_rate_again() -> None:
    optimizer = make_optimizer(nn.Linear(1, 1), Train(optimizer="sgd"), lr=0.2)
    rates = LearningRates([optimizer], [0.2], Schedule(10))
    rates.apply(0)
    rates.load_state_dict({"scale": 0.25})
    optimizer.param_groups[0]["lr"] = 7.0  # as an optimiser's own saved state would
    rates.apply(0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert rates.state_dict() == {"scale": 0.25}
