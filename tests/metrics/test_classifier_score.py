import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torchmetrics.image.inception import InceptionScore

from src.metrics.classifier_score import classifier_score
from src.metrics.scored import Scored
from tests.metrics.features import certain, scored


class PassThrough(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


@pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")
@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_torchmetrics_inception_score_in_one_split(classes: int) -> None:
    generated = scored(500, classes=classes)
    metric = InceptionScore(feature=PassThrough(), splits=1)
    metric.update(generated.logits)
    expected, _ = metric.compute()
    assert classifier_score(generated, generated) == {"classifier_score": pytest.approx(float(expected), rel=1e-5)}
    assert 1.2 < float(expected) < classes


def test_it_is_computed_in_double_precision() -> None:
    generated = scored(500)
    shares = softmax(generated.logits.double().numpy(), axis=1)
    expected = np.exp((shares * np.log(shares / shares.mean(axis=0))).sum(axis=1).mean())
    assert classifier_score(generated, generated)["classifier_score"] == pytest.approx(expected, rel=1e-12)


def test_it_does_not_depend_on_the_order_or_the_real_images() -> None:
    generated = scored(seed=1)
    shuffled = Scored(generated.features, generated.logits.flip(0), generated.labels)
    expected = classifier_score(generated, generated)["classifier_score"]
    assert classifier_score(shuffled, scored(seed=2))["classifier_score"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_it_goes_from_one_to_the_number_of_classes(classes: int) -> None:
    labels = torch.arange(5 * classes) % classes
    assert classifier_score(certain(labels, labels, classes), scored())["classifier_score"] == pytest.approx(classes)
    collapsed = certain(torch.zeros_like(labels), labels, classes)
    assert classifier_score(collapsed, scored())["classifier_score"] == pytest.approx(1)
    unsure = Scored(torch.zeros(20, 1), torch.full((20, classes), 3.0), torch.zeros(20, dtype=torch.int64))
    assert classifier_score(unsure, scored())["classifier_score"] == pytest.approx(1)


def test_half_the_classes_give_half_the_score() -> None:
    labels = torch.arange(100) % 10
    assert classifier_score(certain(labels % 5, labels, 10), scored())["classifier_score"] == pytest.approx(5)
