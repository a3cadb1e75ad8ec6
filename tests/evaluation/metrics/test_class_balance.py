import pytest
import torch
from scipy.stats import chi2_contingency
from torch import Tensor

from src.evaluation.metrics.class_balance import class_balance, class_balance_p_value
from src.evaluation.scored import Scored
from tests.evaluation.features import certain, repeated, resampled, scored, value


def seeing(*counts: int) -> Scored:
    """So many images of each class, whatever they were made for."""
    seen = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return certain(seen, torch.zeros_like(seen), len(counts))


def imbalance(generated: Scored, real: Scored) -> float:
    return value(class_balance(generated, real)["class_imbalance"])


def table(generated: Scored, real: Scored) -> Tensor:
    return torch.stack([one.seen.bincount(minlength=one.class_count) for one in (generated, real)])


@pytest.mark.parametrize(
    ("generated", "real"),
    [(seeing(10, 20, 30), seeing(25, 20, 15)), (seeing(1, 2), seeing(300, 200)), (scored(301, seed=1), scored(200))],
)
def test_it_is_scipys_chi_square_over_the_number_of_images_with_scipys_p_value(generated: Scored, real: Scored) -> None:
    expected = chi2_contingency(table(generated, real).numpy(), correction=False)
    count = len(generated) + len(real)
    assert imbalance(generated, real) == pytest.approx(expected.statistic / count, rel=1e-10)
    assert imbalance(real, generated) == pytest.approx(expected.statistic / count, rel=1e-10)
    assert class_balance_p_value(generated, real) == pytest.approx(expected.pvalue, rel=1e-10)
    assert 0 < expected.pvalue < 1


def test_equal_shares_are_zero_and_no_class_in_common_is_one() -> None:
    assert imbalance(seeing(5, 10, 15), seeing(20, 40, 60)) == pytest.approx(0, abs=1e-12)
    assert class_balance_p_value(seeing(5, 10, 15), seeing(20, 40, 60)) == pytest.approx(1)
    assert imbalance(seeing(5, 10, 0, 0), seeing(0, 0, 40, 60)) == pytest.approx(1)
    assert imbalance(seeing(7, 0), seeing(0, 7)) == pytest.approx(1)


def test_half_the_classes_alone_are_a_third() -> None:
    # 7.5 images are expected of each of the two classes, 2.5 of each other: 4 * 2.5^2 / 7.5 + 4 * 2.5^2 / 2.5 of 40.
    assert imbalance(seeing(10, 10, 0, 0), seeing(5, 5, 5, 5)) == pytest.approx(1 / 3)


def test_a_class_that_nobody_sees_does_not_count() -> None:
    assert imbalance(seeing(4, 0, 6), seeing(5, 0, 5)) == pytest.approx(imbalance(seeing(4, 6), seeing(5, 5)))
    assert class_balance_p_value(seeing(4, 0, 6), seeing(5, 0, 5)) == pytest.approx(
        class_balance_p_value(seeing(4, 6), seeing(5, 5))
    )


def test_it_asks_for_no_label() -> None:
    generated, real = scored(seed=1), scored(seed=2)
    other = Scored(generated.features, generated.logits, generated.labels.flip(0))
    assert imbalance(other, real) == imbalance(generated, real)


def test_a_resample_is_that_of_images_literally_repeated() -> None:
    generated, real = resampled(scored(301, seed=1), 4, seed=1), resampled(scored(200), 4, seed=2)
    found = class_balance(generated, real)["class_imbalance"]
    assert found.shape == (5,)
    expected = [imbalance(repeated(generated, row), repeated(real, row)) for row in range(5)]
    assert found.tolist() == pytest.approx(expected, rel=1e-10)
    assert found.unique().numel() == 5
    assert class_balance_p_value(generated, real) == class_balance_p_value(scored(301, seed=1), scored(200))
