import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torchmetrics.image.kid import KernelInceptionDistance

from src.core.errors import UserError
from src.evaluation.metrics import kernel
from src.evaluation.metrics.kernel import kernel_classifier_distance
from src.evaluation.scored import Scored
from tests.evaluation.features import double, repeated, resampled, scored, value


class PassThrough(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features


def distance(generated: Scored, real: Scored) -> Tensor:
    return kernel_classifier_distance(generated, real)["kernel_classifier_distance"]


def by_torch_fidelity(generated: Tensor, real: Tensor) -> float:
    """KID with a single subset, which holds every image."""
    settings = {"kid_subsets": 1, "kid_subset_size": len(real), "verbose": False, "rng_seed": 0}
    kernel_settings = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    found = kid_features_to_metric(real, generated, kid_kernel_poly_gamma=None, **settings, **kernel_settings)
    return float(found[KEY_METRIC_KID_MEAN])


def by_torchmetrics(generated: Tensor, real: Tensor) -> float:
    metric = KernelInceptionDistance(feature=PassThrough(), subsets=1, subset_size=len(real))
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute()[0])


def by_hand(generated: Scored, real: Scored, row: int) -> float:
    """The mean over pairs of distinct images, each counted by how often both are there: a double loop."""

    def mean(one: Scored, other: Scored, apart: bool) -> float:
        total = pairs = 0.0
        for i, (x, weight) in enumerate(zip(one.features.double(), one.weights[row].tolist(), strict=True)):
            for j, (y, other_weight) in enumerate(
                zip(other.features.double(), other.weights[row].tolist(), strict=True)
            ):
                if not (apart and i == j):
                    pairs += weight * other_weight
                    total += weight * other_weight * (float(x @ y) / len(x) + 1) ** 3
        return total / pairs

    return mean(generated, generated, True) + mean(real, real, True) - 2 * mean(generated, real, False)


@pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")
@pytest.mark.parametrize(("size", "shift"), [(6, 0.5), (6, 0.0), (64, 0.2), (64, -1.0)])
def test_it_is_the_kid_of_torch_fidelity_and_of_torchmetrics_in_one_subset(size: int, shift: float) -> None:
    real, generated = double(scored(400, size, seed=1)), double(scored(400, size, seed=2, shift=shift))
    expected = by_torch_fidelity(generated.features, real.features)
    assert by_torchmetrics(generated.features, real.features) == pytest.approx(expected, rel=1e-8)
    assert value(distance(generated, real)) == pytest.approx(expected, rel=1e-8)
    # The features of a network are float32, the kernel float64 all the same.
    found = value(distance(scored(400, size, seed=2, shift=shift), scored(400, size, seed=1)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_few_images_give_what_a_double_loop_gives_in_each_resample() -> None:
    real, generated = resampled(scored(30, seed=1), seed=1), resampled(scored(22, seed=2, shift=0.5), seed=2)
    found = distance(generated, real)
    assert (found.shape, found.dtype) == ((4,), torch.float64)
    assert float(found[0]) == pytest.approx(by_hand(generated, real, 0), rel=1e-12)
    for row in range(1, 4):
        assert float(found[row]) == pytest.approx(by_hand(generated, real, row), rel=1e-4)
    # Copies beside one another would be like images that are much alike: another number.
    literally = value(distance(repeated(generated, 1), repeated(real, 1)))
    assert literally > float(found[1]) + 0.1


def test_it_is_two_for_two_pairs_of_a_hand() -> None:
    zeros, ones = torch.zeros(2, 1), torch.tensor([[1.0], [1.0]])
    one, other = (Scored(features, torch.zeros(2, 2), torch.tensor([0, 0])) for features in (zeros, ones))
    # k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1.
    assert value(distance(one, other)) == 1 + 8 - 2
    assert value(distance(other, one)) == 7
    assert value(distance(one, one)) == 0


def independent(count: int, seed: int, shift: float = 0.0) -> Scored:
    """Images whose classes are left to chance."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, generator=rng) + shift
    return Scored(features, torch.zeros(count, 2), torch.zeros(count, dtype=torch.int64))


def test_its_mean_over_many_small_samples_of_one_distribution_is_zero() -> None:
    found = np.array([value(distance(independent(20, 2 * n), independent(28, 2 * n + 1))) for n in range(1000)])
    error = found.std(ddof=1) / 1000**0.5
    assert abs(found.mean()) < 3 * error
    assert 0.2 < (found < 0).mean() < 0.8
    # A biased one (pairs of an image with itself left in) would be far away.
    features = independent(20, 0).features.double()
    diagonal = (features.square().sum(dim=1) / 4 + 1) ** 3
    assert float(diagonal.mean() - 1) / 20 > 20 * error


def test_its_mean_does_not_depend_on_the_number_of_images() -> None:
    few, many = (
        np.array([value(distance(independent(n, 2 * s, 0.5), independent(n, 2 * s + 1))) for s in range(400)])
        for n in (12, 96)
    )
    error = float((few.var(ddof=1) / 400 + many.var(ddof=1) / 400) ** 0.5)
    assert abs(few.mean() - many.mean()) < 3 * error
    assert many.mean() > 10 * error


def test_classes_of_a_fixed_size_lower_it_by_the_pairs_that_are_left_out() -> None:
    """Of the images of one class there are too few pairs: 2 / (N - 1) of what those are more alike than all."""
    found = np.array([value(distance(scored(40, 4, seed=2 * n), scored(40, 4, seed=2 * n + 1))) for n in range(400)])
    many = scored(4000, 4, seed=9)
    kernel_matrix = (many.features.double() @ many.features.double().T / 4 + 1) ** 3
    same = many.labels[:, None] == many.labels
    apart = ~torch.eye(4000, dtype=torch.bool)
    alike = float(kernel_matrix[same & apart].mean())
    overall = 0.25 * alike + 0.75 * float(kernel_matrix[~same].mean())
    expected = -2 * (alike - overall) / 39
    assert found.mean() == pytest.approx(expected, rel=0.05)
    assert expected < -20


@pytest.mark.parametrize("block", [1, 7, 64, 299, 300, 1000])
def test_the_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Tensor:
        return distance(resampled(scored(250, seed=2, shift=0.5)), resampled(scored(seed=1)))

    monkeypatch.setattr(kernel, "BLOCK", 250)
    expected = found()
    monkeypatch.setattr(kernel, "BLOCK", block)
    assert float(found()[0]) == pytest.approx(float(expected[0]), rel=1e-10)
    assert found().tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_one_image_is_refused() -> None:
    with pytest.raises(UserError, match="the kernel classifier distance: needs at least 2 images, there are 1"):
        kernel_classifier_distance(scored(1), scored())
