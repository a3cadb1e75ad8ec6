import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances
from torch import Tensor

from src.core.device import CPU_BATCH
from src.core.pixels import to_float
from src.evaluation.bootstrap import resamples
from src.evaluation.scored import Scored, class_spread, score_images
from src.networks.classifier import build_classifier
from src.networks.interface import Classifier
from tests.evaluation.features import scored as drawn
from tests.evaluation.features import together
from tests.training.digits import classifier, digits


def same_bits(one: Scored, other: Scored) -> bool:
    pairs = ((one.features, other.features), (one.logits, other.logits), (one.labels, other.labels))
    return all(torch.equal(*pair) for pair in pairs)


def at(one: Scored, places: Tensor) -> Scored:
    return Scored(one.features[places], one.logits[places], one.labels[places])


def wide() -> tuple[Classifier, Tensor]:
    """A classifier of the usual size, as it is loaded, and colour images of noise."""
    torch.manual_seed(0)
    made = build_classifier(class_count=10, channels=3, image_size=32, width=32, feature_size=128, dropout=0.5).eval()
    images = torch.randint(0, 256, (230, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return made.to(memory_format=torch.channels_last), images


def test_images_are_seen_as_the_classifier_sees_them_in_order() -> None:
    images, labels = digits().test.images[:50], digits().test.labels[:50]
    scored = score_images(classifier(), images, labels)
    with torch.no_grad():
        features, logits = classifier()(to_float(images))
    assert torch.allclose(scored.features, features, atol=1e-6)
    assert torch.allclose(scored.logits, logits, atol=1e-6)
    assert torch.equal(scored.labels, labels)
    assert (scored.features.dtype, scored.logits.dtype) == (torch.float32, torch.float32)
    assert (len(scored), scored.class_count) == (50, 10)
    assert torch.equal(scored.seen, logits.argmax(dim=1))


@pytest.mark.parametrize("count", [1, CPU_BATCH - 1, CPU_BATCH, CPU_BATCH + 1, 2 * CPU_BATCH])
def test_any_number_of_images_is_scored(count: int) -> None:
    images, labels = digits().test.images[:count], digits().test.labels[:count]
    scored = score_images(classifier(), images, labels)
    assert (scored.features.shape, scored.logits.shape, scored.labels.shape) == ((count, 32), (count, 10), (count,))


@pytest.mark.parametrize("network", ["digits", "wide"])
def test_an_image_has_the_same_bits_in_any_company(network: str) -> None:
    made, images = (classifier(), digits().test.images) if network == "digits" else wide()
    labels = torch.arange(len(images)) % 10
    whole = score_images(made, images, labels)
    everything = torch.arange(len(images))
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    companies = [everything[n : n + 1] for n in (0, 1, 99, 100, 101, 229)]
    companies += [
        everything[17:],
        everything[3:130],
        everything[::2],
        shuffled,
        shuffled[:41],
        everything[5:6].repeat(7),
    ]
    for places in companies:
        assert same_bits(score_images(made, images[places], labels[places]), at(whole, places))


@pytest.mark.parametrize("size", [7, 100, 356])
def test_images_scored_in_any_chunks_have_the_same_bits(size: int) -> None:
    images, labels = digits().test.images, digits().test.labels
    whole = score_images(classifier(), images, labels)
    parts = [score_images(classifier(), *pair) for pair in zip(images.split(size), labels.split(size), strict=True)]
    joined = together(parts)
    assert same_bits(joined, whole)


def test_the_head_is_the_first_images_without_resamples() -> None:
    one = drawn(50).resampled(resamples(drawn(50).labels, 3, seed=0))
    head = one.head(7)
    assert (len(head), head.features.shape, head.logits.shape) == (7, (7, 6), (7, 4))
    assert torch.equal(head.labels, one.labels[:7])
    assert one.train_distances is not None
    assert head.train_distances is not None
    assert torch.equal(head.train_distances, one.train_distances[:7])
    assert head.resamples is None
    assert len(one.head(100)) == 50
    assert Scored(one.features, one.logits, one.labels).head(3).train_distances is None


def test_the_first_row_of_the_weights_is_every_image_once() -> None:
    one = drawn(50)
    assert torch.equal(one.weights, torch.ones(1, 50, dtype=torch.float64))
    counts = resamples(one.labels, 3, seed=0)
    weights = one.resampled(counts).weights
    assert (weights.shape, weights.dtype) == ((4, 50), torch.float64)
    assert torch.equal(weights, torch.cat([torch.ones(1, 50).double(), counts]))


def test_what_was_kept_is_found_once_and_not_for_other_resamples_or_distances() -> None:
    one, calls = drawn(50), []

    def compute() -> int:
        calls.append(1)
        return len(calls)

    assert (one.keep("a", compute), one.keep("a", compute), one.keep("b", compute)) == (1, 1, 2)
    assert one.resampled(resamples(one.labels, 2, seed=0)).keep("a", compute) == 3
    assert one.beside(torch.zeros(50)).keep("a", compute) == 4
    assert one.head(50).keep("a", compute) == 5
    assert one.to(torch.device("cpu")).keep("a", compute) == 6
    assert one.keep("a", compute) == 1


def test_the_same_on_another_device_has_everything() -> None:
    one = drawn(50).resampled(resamples(drawn(50).labels, 2, seed=0))
    moved = one.to(torch.device("meta"))
    tensors = (moved.features, moved.logits, moved.labels, moved.train_distances, moved.resamples)
    assert all(tensor is not None and tensor.is_meta for tensor in tensors)
    assert Scored(one.features, one.logits, one.labels).to(torch.device("meta")).resamples is None


def features_of(features: torch.Tensor, labels: list[int]) -> Scored:
    return Scored(features, torch.zeros(len(features), 3), torch.tensor(labels))


def test_it_is_the_mean_distance_of_pairs_as_scikit_learn_finds_it() -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    labels = [number % 3 for number in range(40)]
    spread = class_spread(features_of(features, labels))
    for label in range(3):
        distances = pairwise_distances(features[torch.tensor(labels) == label].numpy())
        pairs = distances[np.triu_indices(len(distances), 1)]
        assert float(spread[label]) == pytest.approx(pairs.mean(), rel=1e-5)


def test_one_image_repeated_has_none_and_a_single_image_is_unknown() -> None:
    spread = class_spread(features_of(torch.ones(6, 4), [0, 0, 0, 0, 0, 1]))
    assert spread[0] == 0
    assert spread[1:].isnan().all()


def test_two_images_have_their_distance() -> None:
    spread = class_spread(features_of(torch.tensor([[0.0, 0], [3, 4], [7, 7]]), [2, 2, 0]))
    assert float(spread[2]) == 5
    assert spread[:2].isnan().all()
