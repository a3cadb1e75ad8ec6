import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from src.evaluation.metrics.quick.gan_test import answers, confusion, confusions, gan_test
from src.evaluation.scored import Scored
from tests.evaluation.features import certain, repeated, resampled, scored, value

NAMES = ("precision", "recall", "f1")


def with_mistakes(count: int = 301, seed: int = 0) -> Scored:
    """Classes of different sizes; the classifier is right about two thirds of them."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=rng) * torch.randint(0, 2, (count,), generator=rng)
    seen = torch.where(torch.rand(count, generator=rng) < 0.6, labels, torch.randint(0, 4, (count,), generator=rng))
    return certain(seen, labels, 4)


@pytest.mark.parametrize("generated", [scored(301), with_mistakes()])
def test_accuracy_is_sklearns(generated: Scored) -> None:
    expected = accuracy_score(generated.labels, generated.seen)
    assert value(gan_test(generated, scored(seed=3))["gan_test_accuracy"]) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9


def test_accuracy_goes_from_zero_to_one() -> None:
    labels = torch.arange(10) % 5
    assert value(gan_test(certain(labels, labels, 5), scored())["gan_test_accuracy"]) == 1
    assert value(gan_test(certain((labels + 1) % 5, labels, 5), scored())["gan_test_accuracy"]) == 0


@pytest.mark.parametrize("generated", [scored(301), with_mistakes()])
def test_each_class_and_their_mean_have_sklearns_numbers(generated: Scored) -> None:
    asked, seen = generated.labels.numpy(), generated.seen.numpy()
    found = gan_test(generated, scored())
    by_class = precision_recall_fscore_support(asked, seen, labels=range(4), zero_division=0)
    means = precision_recall_fscore_support(asked, seen, labels=range(4), average="macro", zero_division=0)
    for name, expected, mean in zip(NAMES, by_class, means, strict=False):
        assert found[f"gan_test_{name}_by_class"][0].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
        assert value(found[f"gan_test_{name}"]) == pytest.approx(mean, abs=1e-12)
    assert found["gan_test_precision_by_class"].unique().numel() == 4


def test_a_class_that_is_never_seen_or_asked_for_has_zeros() -> None:
    asked, seen = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gan_test(certain(seen, asked, 3), scored())
    assert found["gan_test_precision_by_class"].tolist() == [[0.5, 0, 0]]
    assert found["gan_test_recall_by_class"].tolist() == [[1, 0, 0]]
    assert found["gan_test_f1_by_class"][0].tolist() == pytest.approx([2 / 3, 0, 0])
    assert value(found["gan_test_f1"]) == pytest.approx(2 / 9)
    expected = precision_recall_fscore_support(asked, seen, labels=range(3), average="macro", zero_division=0)
    assert [value(found[f"gan_test_{name}"]) for name in NAMES] == pytest.approx(expected[:3])


@pytest.mark.parametrize("generated", [scored(301), with_mistakes()])
def test_a_resample_is_that_of_images_literally_repeated(generated: Scored) -> None:
    generated = resampled(generated, 4)
    found = gan_test(generated, scored())
    for row in range(5):
        for name, rows in gan_test(repeated(generated, row), scored()).items():
            assert torch.equal(found[name][row], rows[0])
    assert found["gan_test_f1_by_class"].shape == (5, 4)
    assert found["gan_test_accuracy"].unique().numel() > 2


def test_the_confusion_has_the_asked_class_in_rows() -> None:
    generated = scored(301)
    found = confusion(resampled(generated))
    assert found.dtype == torch.int64
    assert found.tolist() == confusion_matrix(generated.labels, generated.seen).tolist()
    seen_as_two = certain(torch.tensor([2, 2]), torch.tensor([0, 0]), 4)
    assert confusion(seen_as_two).tolist() == [[0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_weights_count_in_the_confusion() -> None:
    asked, seen = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 0, 1])
    weights = torch.tensor([[1.0, 1, 1, 1], [2, 0, 5, 3]], dtype=torch.float64)
    assert confusions(asked, seen, 2, weights).tolist() == [[[0, 2], [1, 1]], [[0, 5], [5, 0]]]


def test_the_names_begin_as_asked() -> None:
    counts = torch.tensor([[[3.0, 1], [0, 4]]], dtype=torch.float64)
    found = answers(counts, "gan_train")
    assert list(found) == ["gan_train_accuracy"] + [
        f"gan_train_{name}{end}" for name in NAMES for end in ("", "_by_class")
    ]
    assert value(found["gan_train_accuracy"]) == 7 / 8
    assert found["gan_train_precision_by_class"].tolist() == [[1, 4 / 5]]
    assert found["gan_train_recall_by_class"].tolist() == [[3 / 4, 1]]
