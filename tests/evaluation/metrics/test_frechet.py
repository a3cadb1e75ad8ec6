import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from src.core.errors import UserError
from src.evaluation.metrics.quick import frechet
from src.evaluation.metrics.quick.frechet import frechet_distance, frechet_distances
from src.evaluation.scored import Scored, score_images
from tests.evaluation.features import chosen, repeated, resampled, scored, value
from tests.training.digits import classifier, digits

OVERALL, JOINT = "frechet_classifier_distance", "frechet_joint_distance"
BY_CLASS = f"{OVERALL}_by_class"


class PassThrough(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def overall(generated: Scored, real: Scored) -> float:
    return value(frechet_distances(generated, real)[OVERALL])


def joint(generated: Scored, real: Scored) -> float:
    return value(frechet_distances(generated, real)[JOINT])


def joined(one: Scored, scale: float) -> Tensor:
    """The one-hot label beside the features, by hand."""
    return torch.cat([one.features.double(), scale * F.one_hot(one.labels, one.class_count).double()], dim=1)


def mean_norm(one: Scored) -> float:
    return float(one.features.double().norm(dim=1).mean())


def by_torch_fidelity(generated: Tensor, real: Tensor) -> float:
    statistics = (fid_features_to_statistics(features.double()) for features in (real, generated))
    return float(fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID])


def by_torchmetrics(generated: Tensor, real: Tensor) -> float:
    metric = FrechetInceptionDistance(feature=PassThrough(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return float(metric.compute())


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


@pytest.mark.parametrize(("size", "count", "shift"), [(6, 300, 0.5), (64, 500, 0.5), (64, 500, 0.0), (128, 1000, 0.1)])
def test_it_is_the_distance_of_torch_fidelity_and_of_torchmetrics(size: int, count: int, shift: float) -> None:
    real, generated = scored(count, size, seed=1), scored(count, size, seed=2, shift=shift)
    expected = by_torch_fidelity(generated.features, real.features)
    assert expected > 0.05
    assert by_torchmetrics(generated.features, real.features) == pytest.approx(expected, rel=1e-8)
    assert overall(generated, real) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(generated.features, real.features) == pytest.approx(expected, rel=1e-8)


def test_fewer_images_than_features_give_the_distance_of_both_packages() -> None:
    real, generated = scored(20, 32, seed=1), scored(20, 32, seed=2, shift=0.5)
    found = overall(generated, real)
    # A covariance without full rank: the packages take roots of what should be zero, here and there.
    assert found == pytest.approx(by_torch_fidelity(generated.features, real.features), rel=1e-6)
    assert found == pytest.approx(by_torchmetrics(generated.features, real.features), rel=1e-6)


def test_the_features_of_real_networks_give_the_distance_of_both_packages() -> None:
    validation, test = digits().validation, digits().test
    generated = score_images(classifier(), validation.images, validation.labels)
    real = score_images(classifier(), test.images, test.labels)
    found = overall(generated, real)
    assert found == pytest.approx(by_torch_fidelity(generated.features, real.features), rel=1e-6)
    assert found == pytest.approx(by_torchmetrics(generated.features, real.features), rel=1e-6)


def test_identical_sets_have_no_distance() -> None:
    one = scored(size=32)
    scale = float(one.features.square().sum(dim=1).mean())
    for other in (one, chosen(one, torch.randperm(300, generator=torch.Generator().manual_seed(0)))):
        found = frechet_distances(other, one)
        for rows in found.values():
            assert ((rows >= 0) & (rows < 1e-6 * scale)).all()


def test_it_grows_with_the_square_of_a_shift() -> None:
    one = scored(size=8)
    for shift in (0.1, 1.0, 10.0):
        other = Scored(one.features + shift, one.logits, one.labels)
        assert overall(other, one) == pytest.approx(8 * shift**2, rel=1e-3)


def test_features_far_from_zero_lose_nothing() -> None:
    one, other = scored(size=8, seed=1), scored(size=8, seed=2)
    near = frechet_distance(one.features, other.features)
    for away in (1e3, 1e6):
        # With the label that is there to be joined: as far as float64 goes.
        far, far_other = (Scored(x.features.double() + away, x.logits, x.labels) for x in (one, other))
        assert frechet_distance(far.features, far_other.features) == pytest.approx(near, rel=1e-6)
        assert overall(far, far_other) == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize("counts", [(300, 300), (300, 120)])
def test_the_distance_of_a_class_is_that_of_its_images_alone(counts: tuple[int, int]) -> None:
    real, generated = scored(counts[0], seed=1), scored(counts[1], seed=2, shift=0.3)
    found = frechet_distances(generated, real)[BY_CLASS]
    assert (found.shape, found.dtype) == ((1, 4), torch.float64)
    for label in range(4):
        alone = [chosen(one, (one.labels == label).nonzero()[:, 0]) for one in (generated, real)]
        assert float(found[0, label]) == pytest.approx(overall(*alone), rel=1e-8)
    assert found[0].unique().numel() == 4


@pytest.mark.parametrize("lacking", ["generated", "real", "both"])
def test_a_class_with_fewer_than_two_images_has_no_distance_and_the_others_keep_theirs(lacking: str) -> None:
    whole = {"generated": scored(seed=2, shift=0.3), "real": scored(seed=1)}
    some = dict(whole)
    for name in whole if lacking == "both" else (lacking,):
        labels = whole[name].labels
        # No image of class 1 and one of class 2.
        kept = torch.cat([(labels % 3 == 0).nonzero()[:, 0], (labels == 2).nonzero()[:1, 0]])
        some[name] = chosen(whole[name], kept.sort().values)
    generated, real = (resampled(some[name], 4) for name in ("generated", "real"))
    found = frechet_distances(generated, real)
    assert found[BY_CLASS][:, 1:3].isnan().all()
    assert found[BY_CLASS][0, [0, 3]].tolist() == pytest.approx(
        frechet_distances(whole["generated"], whole["real"])[BY_CLASS][0, [0, 3]].tolist(), rel=1e-8
    )
    assert found[BY_CLASS][:, [0, 3]].isfinite().all()
    assert value(found[OVERALL][:1]) == pytest.approx(frechet_distance(generated.features, real.features), rel=1e-8)
    assert found[OVERALL].isfinite().all()
    assert found[JOINT].isfinite().all()


def test_a_resample_that_drew_one_image_of_a_class_again_and_again_has_a_distance() -> None:
    real, generated = scored(40, seed=1), scored(40, seed=2, shift=0.3)
    counts = torch.ones(1, 40, dtype=torch.float64)
    counts[0, generated.labels == 3] = 0
    counts[0, 7] = 10
    found = frechet_distances(generated.resampled(counts), resampled(real, 1))
    assert found[BY_CLASS].isfinite().all()
    # A point: the distance of the means and the whole variance of the other.
    theirs = repeated(resampled(real, 1), 1)
    theirs = chosen(theirs, (theirs.labels == 3).nonzero()[:, 0])
    point = (theirs.features.double().mean(dim=0) - generated.features[7]).square().sum()
    expected = float(point + theirs.features.double().var(dim=0).sum())
    assert float(found[BY_CLASS][1, 3]) == pytest.approx(expected, rel=1e-7)


def test_the_joint_distance_joins_the_label_scaled_by_the_real_norm() -> None:
    real, generated = scored(seed=1), scored(250, seed=2, shift=0.3)
    scale = mean_norm(real)
    expected = frechet_distance(joined(generated, scale), joined(real, scale))
    assert joint(generated, real) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(by_torch_fidelity(joined(generated, scale), joined(real, scale)), rel=1e-6)
    # Labels of other shares, and not in turn.
    other = Scored(generated.features, generated.logits, (generated.labels * torch.arange(250)) % 3)
    expected = frechet_distance(joined(other, scale), joined(real, scale))
    assert joint(other, real) == pytest.approx(expected, rel=1e-6)


def test_a_resample_is_the_distance_of_images_literally_repeated() -> None:
    real, generated = resampled(scored(seed=1), seed=1), resampled(scored(200, seed=2, shift=0.3), seed=2)
    found = frechet_distances(generated, real)
    scale = mean_norm(real)
    assert [rows.shape for rows in found.values()] == [(4,), (4,), (4, 4)]
    for row in range(4):
        ours, theirs = repeated(generated, row), repeated(real, row)
        alone = frechet_distances(ours, theirs)
        assert float(found[OVERALL][row]) == pytest.approx(value(alone[OVERALL]), rel=1e-8)
        assert found[BY_CLASS][row].tolist() == pytest.approx(alone[BY_CLASS][0].tolist(), rel=1e-8)
        # The label weighs as much in each resample.
        expected = frechet_distance(joined(ours, scale), joined(theirs, scale))
        assert float(found[JOINT][row]) == pytest.approx(expected, rel=1e-6)


def test_how_many_resamples_are_worked_on_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> dict[str, Tensor]:
        return frechet_distances(resampled(scored(seed=2, shift=0.3), 7), resampled(scored(seed=1), 7))

    expected = both()
    for elements in (1, 4 * 36 * 3):
        monkeypatch.setattr(frechet, "CHUNK_ELEMENTS", elements)
        found = both()
        for name, rows in expected.items():
            assert torch.allclose(found[name], rows, rtol=1e-10, atol=0)


def test_one_image_is_refused() -> None:
    with pytest.raises(UserError, match="the Frechet distances: needs at least 2 images, there are 1"):
        frechet_distances(scored(1), scored())
    with pytest.raises(UserError, match="there are 1"):
        frechet_distances(scored(), scored(1))


def test_a_generator_that_ignores_its_label_is_caught_by_the_joint_distance_alone() -> None:
    test, validation = digits().test, digits().validation
    real = score_images(classifier(), test.images, test.labels)
    shuffled = test.labels[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))]
    ignoring = score_images(classifier(), test.images, shuffled)
    other_real = score_images(classifier(), validation.images, validation.labels)
    assert overall(ignoring, real) < 1e-3
    ignored = joint(ignoring, real)
    assert ignored > 5 * joint(other_real, real)
    # Half the labels wrong are half way there: it is a matter of degree.
    half = shuffled.clone()
    half[::2] = test.labels[::2]
    partly = joint(Scored(real.features, real.logits, half), real)
    assert 0.1 * ignored < partly < 0.7 * ignored


def test_what_is_not_kept_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = resampled(scored(seed=1, shift=0.3)), resampled(scored(seed=2))
    kept = frechet_distances(generated, real)
    monkeypatch.setattr(frechet, "KEPT_ELEMENTS", 0)
    again = frechet_distances(generated, resampled(scored(seed=2)))
    assert all(torch.equal(again[name], rows) for name, rows in kept.items())


def test_the_distances_by_class_can_be_left_out() -> None:
    generated, real = resampled(scored(seed=1)), resampled(scored(seed=2))
    whole = frechet_distances(generated, real)
    for beside in (real, resampled(scored(seed=2))):  # after the other distances, and alone
        few = frechet_distances(generated, beside, by_class=False)
        assert list(few) == [OVERALL, JOINT]
        assert all(torch.equal(rows, whole[name]) for name, rows in few.items())
