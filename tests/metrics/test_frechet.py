import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from src.metrics.frechet import frechet_classifier_distance, frechet_distance, frechet_joint_distance
from src.metrics.scored import Scored, score_images
from tests.metrics.features import scored
from tests.training.digits import classifier, digits


def with_moments(count: int, mean: Tensor, covariance: Tensor, seed: int) -> Tensor:
    """Points float64 (N, D) with exactly this sample mean and (unbiased) sample covariance."""
    points = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points = points - points.mean(dim=0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(points.T.cov()))
    exact: Tensor = points @ whiten.T @ torch.linalg.cholesky(covariance).T + mean
    return exact


def test_two_gaussians_along_the_axes_have_the_closed_form() -> None:
    means = torch.tensor([[0.0, 1, -2], [3, 1, -1]], dtype=torch.float64)
    deviations = torch.tensor([[1.0, 2, 0.5], [3, 2, 1]], dtype=torch.float64)
    first, second = (with_moments(50 + n, means[n], deviations[n].square().diag(), n) for n in range(2))
    expected = float((means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum())
    assert expected == 9 + 0 + 1 + 4 + 0 + 0.25
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)


def test_two_gaussians_at_any_angle_have_the_formula_of_the_paper() -> None:
    rng = torch.Generator().manual_seed(5)
    roots = torch.randn(2, 4, 4, generator=rng, dtype=torch.float64)
    covariances = [root @ root.T + 0.1 * torch.eye(4, dtype=torch.float64) for root in roots]
    means = torch.randn(2, 4, generator=rng, dtype=torch.float64)
    first, second = (with_moments(40 + n, means[n], covariances[n], n) for n in range(2))
    one, other = (covariance.numpy() for covariance in covariances)
    expected = float((means[0] - means[1]).square().sum()) + float(np.trace(one + other - 2 * sqrtm(one @ other).real))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("size", "count"), [(6, 300), (64, 500), (32, 20)])
def test_it_is_the_distance_of_torch_fidelity(size: int, count: int) -> None:
    real, generated = scored(count, size, seed=1), scored(count, size, seed=2, shift=0.5)
    statistics = (fid_features_to_statistics(one.features.double()) for one in (real, generated))
    expected = fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID]
    found = frechet_classifier_distance(generated, real)
    assert found == {"frechet_classifier_distance": pytest.approx(expected, rel=1e-4)}


def test_identical_sets_have_no_distance() -> None:
    one = scored(size=32)
    scale = float(one.features.square().sum(dim=1).mean())
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    shuffled = Scored(one.features[order], one.logits[order], one.labels[order])
    for other in (one, shuffled):
        assert 0 <= frechet_classifier_distance(other, one)["frechet_classifier_distance"] < 1e-6 * scale
        assert 0 <= frechet_joint_distance(other, one)["frechet_joint_distance"] < 1e-6 * scale


def test_it_grows_with_the_square_of_a_shift() -> None:
    one = scored(size=8)
    for shift in (0.1, 1.0, 10.0):
        other = Scored(one.features + shift, one.logits, one.labels)
        assert frechet_classifier_distance(other, one)["frechet_classifier_distance"] == pytest.approx(
            8 * shift**2, rel=1e-3
        )


def test_float32_features_far_from_zero_lose_nothing() -> None:
    one, other = scored(size=8, seed=1), scored(size=8, seed=2)
    near = frechet_distance(one.features, other.features)
    far = frechet_distance(one.features.double() + 1000, other.features.double() + 1000)
    assert far == pytest.approx(near, rel=1e-4)


def test_the_joint_distance_joins_the_label_scaled_by_the_real_norm() -> None:
    real, generated = scored(seed=1), scored(seed=2, shift=0.3)
    one_hot = torch.eye(4)
    scale = real.features.norm(dim=1).mean()
    expected = frechet_distance(
        torch.cat([real.features, scale * one_hot[real.labels]], dim=1),
        torch.cat([generated.features, scale * one_hot[generated.labels]], dim=1),
    )
    assert frechet_joint_distance(generated, real) == {"frechet_joint_distance": pytest.approx(expected, rel=1e-6)}


def test_a_generator_that_ignores_its_label_is_caught_by_the_joint_distance_alone() -> None:
    test, validation = digits().test, digits().validation
    real = score_images(classifier(), test.images, test.labels)
    shuffled = test.labels[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))]
    ignoring = score_images(classifier(), test.images, shuffled)
    other_real = score_images(classifier(), validation.images, validation.labels)
    assert frechet_classifier_distance(ignoring, real)["frechet_classifier_distance"] < 1e-3
    ignored = frechet_joint_distance(ignoring, real)["frechet_joint_distance"]
    assert ignored > 5 * frechet_joint_distance(other_real, real)["frechet_joint_distance"]
    # Half the labels wrong are half way there: it is a matter of degree.
    half = shuffled.clone()
    half[::2] = test.labels[::2]
    partly = frechet_joint_distance(Scored(real.features, real.logits, half), real)["frechet_joint_distance"]
    assert 0.1 * ignored < partly < 0.7 * ignored
