from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from src.core.errors import UserError
from src.data.prepared import Split
from src.evaluation.classifier import fit_classifier
from src.evaluation.metrics.gan_train import gan_train
from src.evaluation.scored import Scored, score_images
from src.networks.interface import Classifier
from tests.training.digits import CLASSIFIER, CPU, classifier, digits, real_images


def fit(train: Split, held_out: Split) -> Classifier:
    return fit_classifier(CLASSIFIER, train, 10, CPU, held_out)


def as_generated(images: torch.Tensor, labels: torch.Tensor) -> Scored:
    return score_images(classifier(), images, labels)


def test_real_training_images_teach_what_wrong_labels_do_not() -> None:
    train, real = digits().train, real_images().scored("test")
    good = gan_train(as_generated(train.images, train.labels), real, fit=fit)
    shuffled = train.labels[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    bad = gan_train(as_generated(train.images, shuffled), real, fit=fit)
    assert float(good["gan_train_accuracy"]) > 0.9
    assert float(bad["gan_train_accuracy"]) < 0.3


def test_it_is_scikit_learns_score_of_that_classifier() -> None:
    """Trained on nine tenths of the generated images, chosen on the last tenth, tested on the real ones alone."""
    train, real = digits().train, real_images().scored("test")
    seen: list[Any] = []

    def watched(*parts: Split) -> Classifier:
        seen.extend([*parts, fit(*parts)])
        return seen[2]  # type: ignore[no-any-return]

    found = gan_train(as_generated(train.images, train.labels), real, fit=watched)
    taught, held_out, network = seen
    assert len(taught) + len(held_out) == len(train)
    assert len(held_out) == pytest.approx(120, abs=6)
    assert torch.bincount(held_out.labels, minlength=10).min() >= 10
    predicted = score_images(network, digits().test.images, digits().test.labels).seen
    precision, recall, f1, _ = precision_recall_fscore_support(digits().test.labels, predicted)
    assert found["gan_train_accuracy"].tolist() == [accuracy_score(digits().test.labels, predicted)]
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert found[f"gan_train_{name}_by_class"][0].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
        assert float(found[f"gan_train_{name}"]) == pytest.approx(expected.mean(), abs=1e-12)


def test_the_epoch_is_chosen_on_the_held_out_images() -> None:
    """Held-out images with labels that contradict the training: the least trained epoch is the best on them."""
    train = digits().train
    wrong = Split(train.images[:200], (train.labels[:200] + 1) % 10)

    def right(network: Classifier) -> float:
        scored = score_images(network, wrong.images, wrong.labels)
        return float((scored.seen == wrong.labels).double().mean())

    last = fit_classifier(CLASSIFIER, train, 10, CPU)
    chosen = fit_classifier(CLASSIFIER, train, 10, CPU, wrong)
    assert right(chosen) > right(last)
    assert not any(module.training for module in chosen.modules())


def test_too_few_images_of_a_class_are_refused() -> None:
    train = digits().train
    some = train.labels != 3
    generated = as_generated(train.images[some], train.labels[some])
    with pytest.raises(UserError, match="GAN-train accuracy, of each class: needs at least 2 images, there are 0"):
        gan_train(generated, real_images().scored("test"), fit=fit)
