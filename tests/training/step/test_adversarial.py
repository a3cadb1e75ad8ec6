import copy
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.params import Train
from src.networks.interface import Discriminator, Generator
from src.training.step import adversarial as step_module
from src.training.step.adversarial import AdversarialStep
from src.training.step.losses import find_loss, l1_penalty, r1_penalty
from tests.networks.tiny import batch, pair

LOSS_NAMES: Any = get_args(Train.model_fields["loss"].annotation)


def weights(network: nn.Module) -> list[Tensor]:
    return [one.detach().clone() for one in network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def size(network: nn.Module) -> float:
    return sum(float(one.abs().sum()) for one in weights(network) if one.dim() > 1)


def run(train: Train, count: int = 1, family: str = "mlp") -> tuple[Generator, Discriminator, list[Tensor]]:
    """The networks after some steps, and the counters of each step."""
    generator, discriminator = pair(family)
    step = AdversarialStep(generator, discriminator, train, 100)
    counters = []
    for index in range(count):
        images, labels, latents = batch(seed=index)
        counters.append(step(index, images, labels, latents))
    return generator, discriminator, counters


@pytest.mark.parametrize(("r1_weight", "l1", "weight_decay"), [(0.0, 0.0, 0.0), (0.3, 0.01, 0.1)])
@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_two_steps_are_those_of_the_algorithm_written_out(
    loss: Any, r1_weight: float, l1: float, weight_decay: float
) -> None:
    """Against gradients of whole losses and a plain update, without the tricks that save time."""
    train = Train(
        loss=loss,
        optimizer="sgd",
        beta1=0.0,
        lr_generator=0.03,
        lr_discriminator=0.05,
        r1_weight=r1_weight,
        r2_weight=0.5 * r1_weight,
        penalty_interval=2,
        l1=l1,
        weight_decay=weight_decay,
        lr_decay_from=1.0,
    )
    generator, discriminator, counters = run(train, 2)

    def update(network: nn.Module, objective: Tensor, rate: float) -> None:
        parameters = list(network.parameters())
        with torch.no_grad():
            for one, slope in zip(parameters, torch.autograd.grad(objective, parameters), strict=True):
                one.sub_(rate * (slope + weight_decay * one))

    plain_g, plain_d = pair()
    chosen = find_loss(loss)
    for index, found in enumerate(counters):
        images, labels, latents = batch(seed=index)
        (real, _), (fake, _) = plain_d(images, labels), plain_d(plain_g(latents, labels).detach(), labels)
        loss_d = chosen.discriminator(real, fake)
        objective = loss_d + l1 * l1_penalty(plain_d.parameters())
        if index == 0:
            objective = objective + 2 * r1_weight * r1_penalty(plain_d, images, labels)
            objective = objective + r1_weight * r1_penalty(plain_d, plain_g(latents, labels), labels)
        update(plain_d, objective, 0.05)
        loss_g = chosen.generator(plain_d(images, labels)[0].detach(), plain_d(plain_g(latents, labels), labels)[0])
        update(plain_g, loss_g + l1 * l1_penalty(plain_g.parameters()), 0.03)
        if chosen.boundary is None:
            shares = [float((real > fake).float().mean())] * 2
        else:
            shares = [float((some).float().mean()) for some in (real > chosen.boundary, fake <= chosen.boundary)]
        assert found.tolist() == pytest.approx([loss_d.item(), loss_g.item(), *shares], rel=1e-5, abs=1e-7)
    for network, plain in ((generator, plain_g), (discriminator, plain_d)):
        for one, other in zip(weights(network), weights(plain), strict=True):
            assert torch.allclose(one, other, rtol=0, atol=2e-6)


def test_an_auxiliary_head_learns_the_classes_of_real_and_fake_images() -> None:
    train = Train(
        optimizer="sgd", beta1=0.0, lr_generator=0.03, lr_discriminator=0.05, r1_weight=0.0, auxiliary_weight=0.5
    )
    networks, plain = pair("mlp", "auxiliary"), pair("mlp", "auxiliary")
    images, labels, latents = batch()
    AdversarialStep(*networks, train, 100)(0, images, labels, latents)
    chosen, (plain_g, plain_d) = find_loss("bce"), plain

    def judged(some: Tensor) -> tuple[Tensor, Tensor]:
        logits, classes = plain_d(some, labels)
        assert classes is not None
        return logits, F.cross_entropy(classes, labels)

    (real, real_classes), (fake, fake_classes) = judged(images), judged(plain_g(latents, labels).detach())
    slopes = torch.autograd.grad(
        chosen.discriminator(real, fake) + 0.5 * (real_classes + fake_classes) / 2, list(plain_d.parameters())
    )
    with torch.no_grad():
        for weight, slope in zip(plain_d.parameters(), slopes, strict=True):
            weight.sub_(0.05 * slope)
    fake, fake_classes = judged(plain_g(latents, labels))
    slopes = torch.autograd.grad(chosen.generator(real, fake) + 0.5 * fake_classes, list(plain_g.parameters()))
    with torch.no_grad():
        for weight, slope in zip(plain_g.parameters(), slopes, strict=True):
            weight.sub_(0.03 * slope)
    for network, written in zip(networks, plain, strict=True):
        for one, other in zip(weights(network), weights(written), strict=True):
            assert torch.allclose(one, other, rtol=0, atol=2e-6)


def test_a_critic_of_several_steps_takes_a_batch_each_and_the_generator_the_last() -> None:
    train = Train(
        loss="wasserstein", gp_weight=10.0, penalty_interval=1, critic_steps=3, optimizer="sgd", r1_weight=0.0
    )
    networks = pair()
    step = AdversarialStep(*networks, train, 100)
    seen: list[tuple[str, Tensor]] = []
    for network, name in zip(networks, ("generator", "discriminator"), strict=True):
        network.register_forward_hook(lambda _, given, __, name=name: seen.append((name, given[0].detach().clone())))
    images, labels, latents = batch(count=24)
    step(0, images, labels, latents)
    made = [given for name, given in seen if name == "generator"]
    assert [torch.equal(one, part) for one, part in zip(made, latents.chunk(3), strict=True)] == [True] * 3
    judged = [given for name, given in seen if name == "discriminator" and len(given) == 16]
    assert [torch.equal(one[:8], part) for one, part in zip(judged, images.chunk(3), strict=True)] == [True] * 3
    assert len(seen) == 3 + 3 + 3 + 1  # fakes, batches, penalties, and the generator's own step


@pytest.mark.parametrize("still", [0, 1])
def test_the_step_of_one_network_leaves_the_other_alone(still: int) -> None:
    rates = {"lr_generator": 0.5, "lr_discriminator": 0.5, ("lr_generator", "lr_discriminator")[still]: 1e-30}
    train = Train.model_validate({"optimizer": "sgd", "beta1": 0.0, "r1_weight": 0.0, **rates})
    *trained, _ = run(train)
    start = pair()
    assert [same(weights(one), weights(other)) for one, other in zip(trained[:2], start, strict=True)] == [
        *(still == 0, still == 1),
    ]
    generator, discriminator = start
    assert all(one.requires_grad for one in trained[1].parameters())
    # The gradients of the discriminator are those of its own step, without the generator's.
    images, labels, latents = batch()
    fake = generator(latents, labels).detach()
    find_loss("bce").discriminator(discriminator(images, labels)[0], discriminator(fake, labels)[0]).backward()
    for one, other in zip(trained[1].parameters(), discriminator.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=0, atol=1e-6)


def test_penalties_come_on_the_first_step_and_every_kth_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = 0, []

    def counted(*arguments: Any) -> Tensor:
        seen.append(now)
        return r1_penalty(*arguments)

    monkeypatch.setattr(step_module, "r1_penalty", counted)
    for train, expected in (
        (Train(penalty_interval=3), [0, 3, 6]),
        (Train(r1_weight=0.0), []),
        (Train(penalty_interval=1), list(range(8))),
    ):
        seen.clear()
        step = AdversarialStep(*pair(), train, 8)
        images, labels, latents = batch()
        for now in range(8):
            step(now, images, labels, latents)
        assert seen == expected


@pytest.mark.parametrize("name", ["l1", "weight_decay"])
def test_penalties_on_weights_shrink_both_networks(name: str) -> None:
    free, held = (run(Train.model_validate({"r1_weight": 0.0, name: value}), 40) for value in (0.0, 0.05))
    for network, shrunk in zip(free[:2], held[:2], strict=True):
        assert size(shrunk) < 0.9 * size(network)


def test_dropout_makes_two_equal_steps_differ_unless_seeded() -> None:
    results = []
    for seed in (1, 1, 2):
        _, discriminator = pair()
        for module in discriminator.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.5
        step = AdversarialStep(pair()[0], discriminator, Train(), 10)
        torch.manual_seed(seed)
        results.append(step(0, *batch()).tolist())
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_the_average_follows_and_the_rates_fall() -> None:
    generator, discriminator = pair()
    start = copy.deepcopy(generator)
    train = Train(ema_decay=0.5, lr_generator=0.01, lr_discriminator=0.02, lr_decay_from=0.5)
    step = AdversarialStep(generator, discriminator, train, 4)
    rates = []
    for index in range(4):
        step(index, *batch())
        rates.append(step.rates.at(index + 1))
    assert rates == [pytest.approx(row) for row in ((0.01, 0.02), (0.01, 0.02), (0.005, 0.01), (0, 0))]
    assert not same(weights(step.average.network), weights(start))
    assert not same(weights(step.average.network), weights(generator))
