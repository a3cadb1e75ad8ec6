import functools

import pytest
import torch

from src.metrics import scorecard as scorecard_module
from src.metrics.scorecard import ValidationJudge, scorecard
from src.metrics.scored import score_images
from src.networks.interface import Generator
from src.networks.sampling import generate
from tests.metrics.features import scored
from tests.networks.tiny import pair
from tests.training.digits import classifier, digits, judge

NAMES = {
    "classifier_score",
    "frechet_classifier_distance",
    "frechet_joint_distance",
    "agreement",
    "precision",
    "recall",
    "density",
    "coverage",
}


def generator(seed: int = 0) -> Generator:
    return pair("mlp", "concat", class_count=10, seed=seed)[0]


def test_the_scorecard_has_every_number_once() -> None:
    values = scorecard(scored(seed=1), scored(seed=2))
    assert values.keys() == NAMES
    assert all(type(value) is float for value in values.values())
    more = scorecard(scored(seed=1), scored(seed=2), nearest_k=20)
    assert {name for name in NAMES if more[name] != values[name]} <= {"precision", "recall", "density", "coverage"}
    assert more["density"] != values["density"]


def test_real_images_score_better_than_noise() -> None:
    validation, test = digits().validation, digits().test
    real = score_images(classifier(), test.images[:240], test.labels[:240])
    good = scorecard(score_images(classifier(), validation.images, validation.labels), real)
    noise = torch.randint(0, 256, (240, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    bad = scorecard(score_images(classifier(), noise, validation.labels), real)
    # Precision alone cannot tell: a classifier that knows digits only sees noise in the midst of them.
    for name in NAMES - {"precision"}:
        lower = "distance" in name
        assert good[name] < 0.3 * bad[name] if lower else good[name] > 1.3 * bad[name], name


def test_the_judge_scores_images_of_its_seeds_and_the_validation_labels() -> None:
    made, validation = generator(), digits().validation
    images = generate(made, validation.labels, torch.arange(240))
    real = score_images(classifier(), validation.images, validation.labels)
    expected = scorecard(score_images(classifier(), images, validation.labels), real)
    values = judge()(made)
    assert values == {"score": expected["frechet_joint_distance"], **expected}
    assert values["score"] > 1


def test_the_judge_gives_the_same_bits_each_time() -> None:
    validation = digits().validation
    first = judge()(generator())
    torch.manual_seed(123)
    judge()(generator(seed=1))
    assert judge()(generator()) == first
    again = ValidationJudge(classifier(), validation.images, validation.labels, samples=240)
    assert again(generator()) == first
    assert judge()(generator(seed=1)) != first


@pytest.mark.parametrize("batch_size", [1, 7, 240])
def test_the_judge_does_not_depend_on_the_batch_size(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = judge()(generator())
    monkeypatch.setattr(scorecard_module, "generate", functools.partial(generate, batch_size=batch_size))
    monkeypatch.setattr(scorecard_module, "score_images", functools.partial(score_images, batch_size=batch_size))
    assert judge()(generator()) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_judge_leaves_the_generator_as_it_was() -> None:
    made = generator()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    judge()(made)
    assert made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_the_judge_uses_at_most_so_many_images() -> None:
    validation = digits().validation
    short = ValidationJudge(classifier(), validation.images, validation.labels, samples=100, nearest_k=3)
    assert len(short.real) == 100
    assert torch.equal(short.real.labels, validation.labels[:100])
    values = short(generator())
    images = generate(generator(), validation.labels[:100], torch.arange(100))
    expected = scorecard(score_images(classifier(), images, validation.labels[:100]), short.real, nearest_k=3)
    assert values["density"] == expected["density"]
    assert len(ValidationJudge(classifier(), validation.images, validation.labels, samples=999).real) == 240


def test_diversity_is_about_one_for_real_images_and_zero_for_one_image_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    train = digits().train
    real = [train.images[train.labels == label] for label in range(10)]

    def from_data(repeated: bool) -> functools.partial[torch.Tensor]:
        def take(network: Generator, labels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
            return torch.stack([real[label][0 if repeated else index % 20] for index, label in enumerate(labels)])

        return functools.partial(take)

    monkeypatch.setattr(scorecard_module, "generate", from_data(repeated=False))
    diversity = judge().diversity(generator())
    assert diversity.shape == (10,)
    assert ((diversity > 0.6) & (diversity < 1.5)).all(), diversity
    monkeypatch.setattr(scorecard_module, "generate", from_data(repeated=True))
    assert (judge().diversity(generator()) == 0).all()
