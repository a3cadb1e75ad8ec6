from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from benchmarks import fooling
from src.evaluation.bootstrap import Estimate
from src.evaluation.gate import FIRST_SEED, Gate, Measured
from src.evaluation.judge import objective
from src.evaluation.metric import values
from src.evaluation.scored import score_images
from src.sampling.draw import generate
from tests.evaluation.features import quick_rows
from tests.networks.tiny import pair
from tests.training.digits import digits, real_images


@cache
def gate() -> Gate:
    return Gate(real_images(), resample_count=60, nearest_k=5)


def real_like(seed: int, noise: float = 0.0) -> Tensor:
    """Held-out images of the validation labels, with noise: a generator that is as good as one likes."""
    test, chance = digits().test, torch.Generator().manual_seed(seed)
    places = []
    for label in digits().validation.labels.tolist():
        members = (test.labels == label).nonzero().flatten()
        places.append(members[torch.randint(len(members), (1,), generator=chance)])
    images = test.images[torch.cat(places)].float()
    return (images + noise * torch.randn(images.shape, generator=chance)).clamp(0, 255).round().to(torch.uint8)


def measured(images: Tensor) -> Measured:
    return gate().measure_images(images)


def test_the_objective_is_that_of_training_for_other_latents() -> None:
    generator = pair("mlp", "concat", class_count=10)[0]
    real = real_images().scored("validation")
    images = generate(generator, real.labels, FIRST_SEED + torch.arange(len(real)))
    scored = score_images(real_images().classifier, images, real.labels)
    scored = scored.beside(torch.cdist(scored.features, real_images().scored("train").features).min(dim=1).values)
    found = values(quick_rows(scored, real))
    ours = gate().measure(generator)
    assert float(ours.objective[0]) == pytest.approx(objective(found, real, conditional=True), rel=1e-6)
    assert ours.coverage == found["coverage"]
    assert ours.copied_share == found["copied_share"]
    assert ours.agreement is not None
    assert ours.agreement.shape == (61, 10)
    assert float(ours.agreement[0].mean()) == pytest.approx(found["gan_test_recall"])


def test_a_better_generator_is_promoted() -> None:
    ruling = gate().rule(measured(real_like(0)), measured(real_like(1, noise=60)), 0.05)
    assert ruling.decision == "promoted"
    assert ruling.champion is not None
    assert ruling.difference is not None
    assert ruling.difference.value == pytest.approx(ruling.candidate.value - ruling.champion.value)
    assert ruling.difference.high < 0
    assert "significantly lower" in ruling.reasons[0]


def test_a_worse_one_is_not() -> None:
    ruling = gate().rule(measured(real_like(1, noise=60)), measured(real_like(0)), 1.0)
    assert ruling.decision == "kept"
    assert ruling.reasons[0].startswith("its objective is higher: +")


def test_two_equally_good_ones_change_nothing() -> None:
    """A lower value is not enough: whichever comes second stays second."""
    one, other = measured(real_like(0, noise=5)), measured(real_like(1, noise=5))
    for pair_ in ((one, other), (other, one)):
        ruling = gate().rule(*pair_, 1.0)
        assert ruling.decision == "kept"
        assert "not significantly lower" in ruling.reasons[0]
    assert gate().rule(one, one, 1.0).difference == Estimate(0, 0, 0)


def test_a_class_that_loses_too_much_keeps_the_champion() -> None:
    """The objective is better by far; but every second 3 is an 8 now."""
    images, labels = real_like(0), digits().validation.labels
    threes, eights = ((labels == label).nonzero().flatten() for label in (3, 8))
    half = threes[: len(threes) // 2]
    images[half] = images[eights[: len(half)]]
    candidate, champion = measured(images), measured(real_like(1, noise=60))
    ruling = gate().rule(candidate, champion, 0.3)
    worst = ruling.worst_class()
    assert worst is not None
    assert worst.name == "3"
    assert worst.difference.value == pytest.approx(worst.candidate - worst.champion)
    assert worst.difference.value < -0.3
    assert ruling.decision == "kept"
    assert "drops by more than register.max_class_drop (0.3): 3 " in ruling.reasons[0]
    assert gate().rule(candidate, champion, 0.6).decision == "promoted"


@pytest.mark.parametrize(
    ("cheat", "words"),
    [
        (fooling.collapsed, "it has collapsed: the images of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 are all alike"),
        (fooling.copies, "it memorises: "),
    ],
)
def test_cheats_are_refused_even_without_a_champion(cheat: fooling.Cheat, words: str) -> None:
    labels = digits().validation.labels
    test = real_images().scored("test")
    sure = test.logits.softmax(dim=1)
    best = torch.stack([torch.where(test.labels == label, sure[:, label], -1).argmax() for label in range(10)])
    real = fooling.Real(digits().train, digits().test, best)
    found = measured(cheat(real, labels, torch.Generator().manual_seed(0)))
    for champion in (None, measured(real_like(1, noise=120))):
        ruling = gate().rule(found, champion, 1.0)
        assert ruling.decision == "refused"
        assert any(reason.startswith(words) for reason in ruling.reasons), ruling.reasons


def test_a_generator_that_reaches_few_real_images_is_refused() -> None:
    ruling = gate().rule(replace(measured(real_like(0)), coverage=0.049), None, 0.05)
    assert ruling.decision == "refused"
    assert ruling.reasons == (
        "it has collapsed: its images cover only 4.9% of the real ones (at least 5% is required)",
    )


def test_without_a_champion_a_fit_generator_is_promoted() -> None:
    ruling = gate().rule(measured(real_like(0, noise=20)), None, 0.05)
    assert (ruling.decision, ruling.champion, ruling.classes) == ("promoted", None, ())
    assert ruling.reasons == ("there was no champion, and nothing disqualifies it",)


def test_known_reasons_refuse() -> None:
    ruling = gate().rule(measured(real_like(0)), None, 0.05, ["it was trained on the moon"])
    assert (ruling.decision, ruling.reasons) == ("refused", ("it was trained on the moon",))


def test_labels_and_no_labels_do_not_compare() -> None:
    one = measured(real_like(0))
    ruling = gate().rule(one, replace(one, agreement=None), 0.05)
    assert ruling.decision == "refused"
    assert "only one of candidate and champion is conditional" in ruling.reasons[0]


def test_a_generator_without_labels_is_measured_without() -> None:
    found = gate().measure(pair("mlp", "none", class_count=10)[0])
    assert found.agreement is None
    assert gate().rule(found, found, 0.05).classes == ()
