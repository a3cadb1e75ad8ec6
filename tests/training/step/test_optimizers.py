from typing import Any, get_args

import pytest
import torch
from torch import nn

from src.config.params import Train
from src.training.step.adversarial import AdversarialStep
from src.training.step.optimizers import AveragedGenerator, LearningRates, Schedule, make_optimizer
from tests.networks.tiny import FAMILIES, batch, pair


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


@pytest.mark.parametrize("optimizer", get_args(Train.model_fields["optimizer"].annotation))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_optimiser_trains_every_family_while_it_grows(family: str, optimizer: Any) -> None:
    """Layers that join later have no state yet, and those of before have one."""
    steps = 12
    generator, discriminator = pair(family, size=16)
    train = Train(optimizer=optimizer, beta1=0.9, lr_generator=1e-3, lr_discriminator=1e-3, lr_decay_from=1.0)
    step = AdversarialStep(generator, discriminator, train, steps)
    before = [one.detach().clone() for one in (*generator.parameters(), *discriminator.parameters())]
    kinds = set()
    for number in range(steps):
        images, labels, latents = batch(size=16, seed=number)
        assert step(number, images, labels, latents).isfinite().all()
        kinds.add(step.kind(number).stages)
    assert len(kinds) == (1 if family != "progressive" else 5)
    moved = [
        not torch.equal(one, other)
        for one, other in zip((*generator.parameters(), *discriminator.parameters()), before, strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize("growing", [False, True])
def test_momentum_is_that_of_pytorch_from_the_first_step(growing: bool) -> None:
    ours, theirs = (nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)]) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    train = Train(optimizer="sgd", beta1=0.9, weight_decay=0.1)
    optimizers = make_optimizer(ours, train, 0.1), torch.optim.SGD(theirs.parameters(), 0.1, 0.9, weight_decay=0.1)
    for number in range(6):
        inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(number))
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            used = network[:1] if growing and number < 3 else network
            optimizer.zero_grad()
            torch.stack([layer(inputs).square().mean() for layer in used]).sum().backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_sgd_moves_by_rate_times_gradient_and_decay() -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    optimizer = make_optimizer(weight, Train(optimizer="sgd", beta1=0.0, weight_decay=0.5), lr=0.1)
    weight(torch.tensor([[3.0]])).sum().backward()
    optimizer.step()
    assert weight.weight.item() == pytest.approx(2 - 0.1 * (3 + 0.5 * 2))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule(100, "linear", 0.5), {0: 1, 50: 1, 51: 0.98, 75: 0.5, 99: 0.02, 100: 0, 101: 0}),
        (Schedule(100, "linear", 0.0), {0: 1, 25: 0.75, 100: 0}),
        (Schedule(100, "linear", 1.0), {0: 1, 99: 1, 100: 1}),
        (Schedule(100, "cosine", 0.5), {0: 1, 50: 1, 60: 0.904508, 75: 0.5, 90: 0.095492, 99: 0.000987, 100: 0}),
        (Schedule(100, "linear", 0.5, warmup=0.1), {0: 0.1, 4: 0.5, 9: 1, 10: 1, 40: 1, 75: 0.5}),
    ],
)
def test_schedules(schedule: Schedule, factors: dict[int, float]) -> None:
    assert {step: schedule(step) for step in factors} == pytest.approx(factors, abs=1e-6)


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


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.998])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_average_is_that_of_a_plain_loop(family: str, decay: float) -> None:
    source, _ = pair(family)
    average = AveragedGenerator(source, decay)
    floats = [name for name, value in source.state_dict().items() if value.is_floating_point()]
    expected = {name: source.state_dict()[name].double() for name in floats}
    for step in range(30):
        with torch.no_grad():
            for value in source.state_dict().values():
                value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)
        average.prepare(step)
        average.update()
        keep = min(decay, (1 + step) / (10 + step))
        for name in floats:
            expected[name] = keep * expected[name] + (1 - keep) * source.state_dict()[name].double()
    found = average.network.state_dict()
    for name in floats:
        assert torch.allclose(found[name].double(), expected[name], rtol=0, atol=1e-5), name
    if decay == 0:
        assert all(torch.equal(found[name], source.state_dict()[name]) for name in floats)


def test_statistics_of_batch_normalisation_are_averaged_and_its_counter_is_not() -> None:
    source, _ = pair("dcgan")
    average = AveragedGenerator(source, 0.5)
    _, labels, latents = batch()
    source(latents, labels)
    average.prepare(1000)
    average.update()
    before, after = source.state_dict(), average.network.state_dict()
    assert torch.allclose(after["layers.0.running_mean"], before["layers.0.running_mean"] / 2, atol=1e-7)
    assert torch.allclose(after["layers.0.running_var"], (1 + before["layers.0.running_var"]) / 2, atol=1e-6)
    assert (int(before["layers.0.num_batches_tracked"]), int(after["layers.0.num_batches_tracked"])) == (1, 0)


def test_the_average_never_trains_and_never_touches_its_source() -> None:
    source, _ = pair("mlp")
    average = AveragedGenerator(source, 0.9)
    assert source.training
    assert not average.network.training
    assert all(one.requires_grad for one in source.parameters())
    assert not any(one.requires_grad for one in average.network.parameters())
    assert average.network.description == source.description
    before = [one.detach().clone() for one in source.parameters()]
    with torch.no_grad():
        for one in average.network.parameters():
            one.zero_()
    average.prepare(0)
    average.update()
    assert all(torch.equal(one, old) for one, old in zip(source.parameters(), before, strict=True))
    assert all(one.grad is None for one in average.network.parameters())
