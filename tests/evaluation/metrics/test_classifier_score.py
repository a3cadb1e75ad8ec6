import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torchmetrics.image.inception import InceptionScore

from src.evaluation.metrics.quick.classifier_score import classifier_score
from src.evaluation.scored import Scored
from tests.evaluation.features import certain, chosen, repeated, resampled, scored, value


class PassThrough(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


def score(generated: Scored) -> float:
    return value(classifier_score(generated, scored(20))["classifier_score"])


@pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")
@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_torchmetrics_inception_score_in_one_split(classes: int) -> None:
    generated = scored(500, classes=classes)
    metric = InceptionScore(feature=PassThrough(), splits=1).set_dtype(torch.float64)
    metric.update(generated.logits.double())
    expected, _ = metric.compute()
    assert score(generated) == pytest.approx(float(expected), rel=1e-10)
    assert 1.2 < float(expected) < classes


def test_it_is_computed_in_double_precision() -> None:
    generated = scored(500)
    shares = softmax(generated.logits.double().numpy(), axis=1)
    expected = np.exp((shares * np.log(shares / shares.mean(axis=0))).sum(axis=1).mean())
    assert score(generated) == pytest.approx(expected, rel=1e-12)


def test_it_does_not_depend_on_the_order_or_the_real_images() -> None:
    generated = scored(seed=1)
    shuffled = Scored(generated.features, generated.logits.flip(0), generated.labels)
    expected = value(classifier_score(generated, generated)["classifier_score"])
    assert score(shuffled) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_it_goes_from_one_to_the_number_of_classes(classes: int) -> None:
    labels = torch.arange(5 * classes) % classes
    assert score(certain(labels, labels, classes)) == pytest.approx(classes)
    assert score(certain(torch.zeros_like(labels), labels, classes)) == pytest.approx(1)


@pytest.mark.parametrize("logit", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_same_doubt_about_every_image_is_one_and_never_less(classes: int, logit: float) -> None:
    unsure = Scored(torch.zeros(37, 1), logit + 0.3 * torch.arange(classes).expand(37, -1), torch.zeros(37).long())
    assert score(unsure) == pytest.approx(1, abs=1e-12)
    assert score(unsure) >= 1


def test_half_the_classes_give_half_the_score() -> None:
    labels = torch.arange(100) % 10
    assert score(certain(labels % 5, labels, 10)) == pytest.approx(5)


def test_shares_of_classes_give_the_exponential_of_their_entropy() -> None:
    seen = torch.tensor([0] * 50 + [1] * 25 + [2] * 25)
    # 1/2 ln 2 + 2 * 1/4 ln 4 = 3/2 ln 2.
    assert score(certain(seen, torch.zeros_like(seen), 3)) == pytest.approx(2**1.5)


def test_a_resample_is_that_of_images_literally_repeated() -> None:
    generated = resampled(scored(), 4)
    found = classifier_score(generated, scored(20))["classifier_score"]
    assert found.shape == (5,)
    assert found.tolist() == pytest.approx([score(repeated(generated, row)) for row in range(5)], rel=1e-12)
    assert found.unique().numel() == 5
    assert score(chosen(generated, torch.arange(300))) == pytest.approx(float(found[0]))
