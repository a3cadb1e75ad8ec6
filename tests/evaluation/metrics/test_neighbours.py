import numpy as np
import pytest
import torch
from prdc import compute_prdc
from sklearn.metrics import pairwise_distances
from torch import Tensor

from src.core.errors import UserError
from src.evaluation.metrics.quick import neighbours
from src.evaluation.metrics.quick.neighbours import nearest_distances, neighbour_scores
from src.evaluation.scored import Scored
from tests.evaluation.features import chosen, double, resampled, scored, value


def on_a_line(*positions: float) -> Scored:
    labels = torch.zeros(len(positions), dtype=torch.int64)
    return Scored(torch.tensor(positions, dtype=torch.float32)[:, None], torch.zeros(len(positions), 2), labels)


def values(generated: Scored, real: Scored, nearest_k: int = 5) -> dict[str, float]:
    return {name: value(rows) for name, rows in neighbour_scores(generated, real, nearest_k=nearest_k).items()}


def by_hand(generated: Scored, real: Scored, row: int, nearest_k: int) -> dict[str, float]:
    """One resample in numpy: radii from all images, no neighbourhood around those that are not drawn."""
    ours, theirs = generated.features.numpy(), real.features.numpy()
    our_counts, their_counts = generated.weights[row].numpy(), real.weights[row].numpy()
    our_radii, their_radii = (
        np.sort(pairwise_distances(features), axis=1)[:, nearest_k] for features in (ours, theirs)
    )
    distances = pairwise_distances(theirs, ours)
    in_real = (distances < their_radii[:, None]) & (their_counts > 0)[:, None]
    in_generated = (distances < our_radii) & (our_counts > 0)
    reached = (distances < their_radii[:, None]) & (our_counts > 0)
    times = (their_counts[:, None] * in_real).sum(axis=0)
    return {
        "precision": float((our_counts * in_real.any(axis=0)).sum() / our_counts.sum()),
        "recall": float((their_counts * in_generated.any(axis=1)).sum() / their_counts.sum()),
        "density": float((our_counts * times).sum() / our_counts.sum() / nearest_k),
        "coverage": float((their_counts * reached.any(axis=1)).sum() / their_counts.sum()),
    }


@pytest.mark.parametrize("nearest_k", [1, 3, 5])
@pytest.mark.parametrize(("count", "shift"), [(300, 0.0), (200, 0.7), (120, 3.0)])
def test_it_is_the_package_prdc(count: int, shift: float, nearest_k: int) -> None:
    real, generated = double(scored(seed=1)), double(scored(count, seed=2, shift=shift))
    expected = compute_prdc(real.features.numpy(), generated.features.numpy(), nearest_k)
    assert values(generated, real, nearest_k) == pytest.approx(expected, abs=1e-12)
    # The features of a network are float32; no image changes its side here.
    single = values(scored(count, seed=2, shift=shift), scored(seed=1), nearest_k)
    assert single == pytest.approx(expected, abs=1e-12)


def test_the_scores_of_a_few_points_are_those_of_a_hand() -> None:
    real, generated = on_a_line(0, 1, 3, 7), on_a_line(0.4, 0.6, 20)
    # With one neighbour the real radii are 1, 1, 2, 4; the generated ones are 0.2, 0.2, 19.4.
    assert values(generated, real, nearest_k=1) == {
        "precision": pytest.approx(2 / 3),  # 20 is far from all
        "recall": pytest.approx(3 / 4),  # 1, 3 and 7 are within 19.4 of 20; 0 is 0.4 from the nearest, 20 from the last
        "density": pytest.approx(4 / 3),  # 0.4 and 0.6 are each within the reach of 0 and 1; 2.4 from 3 is too far
        "coverage": pytest.approx(2 / 4),
    }


def test_a_resample_of_a_few_points_is_that_of_a_hand() -> None:
    real = on_a_line(0, 1, 3, 7).resampled(torch.tensor([[3.0, 0, 0, 1]], dtype=torch.float64))
    generated = on_a_line(0.4, 0.6, 20).resampled(torch.tensor([[0.0, 1, 2]], dtype=torch.float64))
    rows = {name: float(found[1]) for name, found in neighbour_scores(generated, real, nearest_k=1).items()}
    assert rows == {
        "precision": pytest.approx(1 / 3),  # 0.6 is near 0; 20, which is there twice, is far from all
        "recall": pytest.approx(1 / 4),  # 7 is near 20; 0 is 0.6 from 0.6, and 0.4 is not there
        "density": pytest.approx(3 / 3),  # 0.6 is within reach of 0, three times
        "coverage": pytest.approx(3 / 4),  # 0, three times, has 0.6
    }


@pytest.mark.parametrize("nearest_k", [1, 5])
def test_each_resample_is_that_of_a_naive_program(nearest_k: int) -> None:
    real = resampled(double(scored(seed=1)), 5, seed=1)
    generated = resampled(double(scored(200, seed=2, shift=0.7)), 5, seed=2)
    found = neighbour_scores(generated, real, nearest_k=nearest_k)
    for row in range(6):
        rows = {name: float(some[row]) for name, some in found.items()}
        assert rows == pytest.approx(by_hand(generated, real, row, nearest_k), abs=1e-12)
    assert all(rows.shape == (6,) and rows.dtype == torch.float64 for rows in found.values())


@pytest.mark.parametrize("block", [1, 7, 64, 299, 300, 1000])
def test_the_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> dict[str, Tensor]:
        real, generated = double(scored(seed=1)), double(scored(250, seed=2, shift=0.5))
        return neighbour_scores(resampled(generated), resampled(real))

    expected = found()
    monkeypatch.setattr(neighbours, "BLOCK", block)
    for name, rows in found().items():
        assert rows.tolist() == pytest.approx(expected[name].tolist(), abs=1e-12)


def test_extremes() -> None:
    real = scored(seed=1)
    assert values(double(real), double(real)) == pytest.approx(
        {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    )
    far = scored(seed=2, shift=1000.0)
    assert values(far, real) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    # One good image, over and over: faithful, and without any variety.
    noise = 1e-4 * torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    collapsed = values(Scored(real.features[:1] + noise, real.logits, real.labels), real)
    assert collapsed["precision"] == 1
    assert collapsed["recall"] < 0.01
    assert collapsed["coverage"] < 0.05


def test_radii_of_real_images_are_found_once() -> None:
    real, generated = scored(seed=1), scored(seed=2, shift=0.7)
    first = neighbour_scores(generated, real)
    kept = real.keep("radii 5", lambda: torch.zeros(0))
    assert torch.equal(kept, nearest_distances(real.features, real.features, 6))
    again = neighbour_scores(generated, real)
    assert all(torch.equal(again[name], rows) for name, rows in first.items())
    # Another k has radii of its own.
    assert values(generated, real, 3) == values(generated, scored(seed=1), 3)


def test_too_few_images_are_refused() -> None:
    expected = "precision and recall with 5 neighbours: needs at least 6 images, there are 5; raise evaluate.samples"
    for generated, real in ((scored(5), scored()), (scored(), scored(5))):
        with pytest.raises(UserError, match=expected):
            neighbour_scores(generated, real, nearest_k=5)
    assert values(scored(6), scored(300))["precision"] > 0.5


def test_nearest_distances_are_sorted_distances() -> None:
    queries, points = scored(40, seed=1).features.double(), scored(70, seed=2).features.double()
    ordered = (queries[:, None] - points[None]).norm(dim=2).sort(dim=1).values
    for k in (1, 2, 70):
        assert torch.allclose(nearest_distances(queries, points, k), ordered[:, k - 1], atol=1e-9)
    assert nearest_distances(queries, queries, 1).abs().max() < 1e-6


def test_the_order_of_the_images_does_not_matter() -> None:
    real, generated = scored(seed=1), scored(seed=2, shift=0.7)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert values(chosen(generated, order), chosen(real, order.flip(0))) == pytest.approx(values(generated, real))
