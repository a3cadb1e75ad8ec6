import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from src.metrics.agreement import agreement, confusion, per_class
from tests.metrics.features import certain, scored


def test_agreement_is_sklearns_accuracy() -> None:
    generated = scored(301)
    predicted = generated.logits.argmax(dim=1)
    expected = accuracy_score(generated.labels, predicted)
    assert agreement(generated, scored(seed=3)) == {"agreement": pytest.approx(expected, abs=1e-12)}
    assert 0.1 < expected < 0.5
    labels = torch.arange(10) % 5
    assert agreement(certain(labels, labels, 5), generated) == {"agreement": 1.0}
    assert agreement(certain((labels + 1) % 5, labels, 5), generated) == {"agreement": 0.0}


def test_each_class_has_sklearns_numbers() -> None:
    generated = scored(301)
    predicted = generated.logits.argmax(dim=1)
    precision, recall, f1, _ = precision_recall_fscore_support(generated.labels, predicted)
    found = per_class(generated)
    assert list(found) == ["precision", "recall", "f1"]
    for name, expected in zip(found, (precision, recall, f1), strict=True):
        assert found[name] == pytest.approx(expected.tolist(), abs=1e-6)
    assert len(set(found["precision"])) == 4


def test_a_class_that_is_never_seen_or_asked_for_has_zeros() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = per_class(certain(torch.tensor([0, 0, 0, 0]), labels, 3))
    assert found["precision"] == [0.5, 0, 0]
    assert found["recall"] == [1, 0, 0]
    assert found["f1"] == pytest.approx([2 / 3, 0, 0])


def test_the_confusion_has_the_asked_class_in_rows() -> None:
    generated = scored(301)
    expected = confusion_matrix(generated.labels, generated.logits.argmax(dim=1))
    found = confusion(generated)
    assert found.dtype == torch.int64
    assert found.tolist() == expected.tolist()
    seen_as_two = certain(torch.tensor([2, 2]), torch.tensor([0, 0]), 4)
    assert confusion(seen_as_two).tolist() == [[0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
