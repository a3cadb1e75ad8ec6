import functools

import pytest
import torch

from src.evaluation import evaluator as evaluator_module
from src.evaluation import judge as judge_module
from src.evaluation.catalogue import CATALOGUE
from src.evaluation.judge import ValidationJudge, objective
from src.evaluation.metric import values
from src.evaluation.metrics.quick.memorisation import nearest_training
from src.evaluation.real_images import RealImages
from src.evaluation.scored import Scored, score_images
from src.networks.interface import Classifier, Generator
from src.sampling.draw import generate
from tests.evaluation.features import UNLABELLED, quick_rows, together
from tests.networks.tiny import pair
from tests.training.digits import classifier, digits, judge, real_images

NAMES = {
    "gan_test_accuracy",
    "gan_test_precision",
    "gan_test_recall",
    "gan_test_f1",
    "frechet_joint_distance",
    *UNLABELLED,
}


def generator(seed: int = 0, conditioning: str = "concat") -> Generator:
    return pair("mlp", conditioning, class_count=10, seed=seed)[0]


def by_hand(images: torch.Tensor, real: Scored, nearest_k: int = 5) -> dict[str, float]:
    generated = score_images(classifier(), images, real.labels)
    train = real_images().scored("train").features
    generated = generated.beside(nearest_training(generated.features, train)[0])
    return values(quick_rows(generated, real, nearest_k))


def test_the_judge_scores_images_of_its_seeds_and_the_validation_labels() -> None:
    made, validation = generator(), digits().validation
    images = generate(made, validation.labels, torch.arange(240))
    real = real_images().scored("validation")
    expected = by_hand(images, real)
    found = judge()(made)
    assert found == {"score": objective(expected, real, conditional=True), **expected}
    assert found.keys() == {"score", *NAMES}
    assert next(iter(found)) == "score"
    assert all(type(number) is float for number in found.values())
    assert found["score"] > 1


def test_the_judge_gives_the_same_bits_each_time() -> None:
    first = judge()(generator())
    torch.manual_seed(123)
    judge()(generator(seed=1))
    assert judge()(generator()) == first
    again = ValidationJudge(RealImages(classifier(), digits()), samples=240)
    assert again(generator()) == first
    assert judge()(generator(seed=1)) != first


@pytest.mark.parametrize("size", [1, 7, 100, 239])
def test_the_judge_gives_the_same_bits_whatever_chunks_the_images_are_scored_in(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_chunks(network: Classifier, images: torch.Tensor, labels: torch.Tensor) -> Scored:
        parts = [score_images(network, *some) for some in zip(images.split(size), labels.split(size), strict=True)]
        return together(parts)

    images = generate(generator(), digits().validation.labels, torch.arange(240))
    expected = judge().judge_images(images)
    monkeypatch.setattr(evaluator_module, "score_images", in_chunks)
    assert judge().judge_images(images) == expected


def test_the_judge_does_not_depend_on_kept_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("real")
    for _ in range(2):  # found, and read back
        again = ValidationJudge(RealImages(classifier(), digits(), folder), samples=240)
        assert again(generator()) == judge()(generator())


@pytest.mark.parametrize("training", [True, False])
def test_the_judge_leaves_the_generator_as_it_was(training: bool) -> None:
    made = generator().train(training)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    judge()(made)
    judge().diversity(made)
    assert all(module.training is training for module in made.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


def test_the_judge_uses_at_most_so_many_images() -> None:
    validation = digits().validation
    short = ValidationJudge(real_images(), samples=100, nearest_k=3)
    assert len(short.real) == 100
    assert torch.equal(short.real.labels, validation.labels[:100])
    images = generate(generator(), validation.labels[:100], torch.arange(100))
    expected = by_hand(images, real_images().scored("validation").head(100), nearest_k=3)
    found = short(generator())
    assert {name: found[name] for name in expected} == expected
    assert len(ValidationJudge(real_images(), samples=999).real) == 240


def test_an_unconditional_generator_has_no_numbers_about_labels() -> None:
    made = generator(conditioning="none")
    assert not made.conditional
    found = judge()(made)
    assert found.keys() == {"score", *(name for name in NAMES if not CATALOGUE[name].labelled)}
    assert "frechet_joint_distance" not in found
    assert found["score"] == objective(found, judge().real, conditional=False)
    images = generate(made, digits().validation.labels, torch.arange(240))
    with_labels = judge().judge_images(images)
    assert {name: number for name, number in with_labels.items() if name in found and name != "score"} == {
        name: number for name, number in found.items() if name != "score"
    }


def test_real_images_have_a_low_score_and_copies_of_training_images_are_fined() -> None:
    test, train, labels = digits().test, digits().train, digits().validation.labels

    def picked(images: torch.Tensor, image_labels: torch.Tensor) -> torch.Tensor:
        """An image of the label in each place, each one but once."""
        places = {label: iter((image_labels == label).nonzero()[:, 0].tolist()) for label in range(10)}
        return images[[next(places[label]) for label in labels.tolist()]]

    real = judge().judge_images(picked(test.images, test.labels))
    copied = judge().judge_images(picked(train.images, train.labels))
    noise = torch.randint(0, 256, (240, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    bad = judge().judge_images(noise)
    assert real["copied_share"] < 0.05
    assert real["score"] == real["frechet_joint_distance"] < 0.05 * bad["score"]
    # Without the fine, copies would be as good as real images.
    assert copied["frechet_joint_distance"] < 2 * real["frechet_joint_distance"]
    assert copied["copied_share"] > 0.99
    assert copied["score"] > 10 * real["score"]


def test_diversity_is_about_one_for_real_images_and_zero_for_one_image_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    train = digits().train
    real = [train.images[train.labels == label] for label in range(10)]

    def take(network: Generator, labels: torch.Tensor, seeds: torch.Tensor, *, repeat: bool) -> torch.Tensor:
        return torch.stack([real[label][0 if repeat else index % 20] for index, label in enumerate(labels.tolist())])

    monkeypatch.setattr(judge_module, "draw", functools.partial(take, repeat=False))
    diversity = judge().diversity(generator())
    assert diversity.shape == (10,)
    assert ((diversity > 0.6) & (diversity < 1.5)).all(), diversity
    monkeypatch.setattr(judge_module, "draw", functools.partial(take, repeat=True))
    assert (judge().diversity(generator()) == 0).all()
