import pytest
import torch
from prdc import compute_prdc

from src.metrics import neighbours
from src.metrics.neighbours import nearest_distances, neighbour_scores
from src.metrics.scored import Scored
from tests.metrics.features import scored


def on_a_line(*positions: float) -> Scored:
    labels = torch.zeros(len(positions), dtype=torch.int64)
    return Scored(torch.tensor(positions, dtype=torch.float32)[:, None], torch.zeros(len(positions), 2), labels)


def double(one: Scored) -> Scored:
    return Scored(one.features.double(), one.logits, one.labels)


@pytest.mark.parametrize("nearest_k", [1, 3, 5])
@pytest.mark.parametrize(("count", "shift"), [(300, 0.0), (200, 0.7), (120, 3.0)])
def test_it_is_the_package_prdc(count: int, shift: float, nearest_k: int) -> None:
    real, generated = double(scored(seed=1)), double(scored(count, seed=2, shift=shift))
    expected = compute_prdc(real.features.numpy(), generated.features.numpy(), nearest_k)
    assert neighbour_scores(generated, real, nearest_k) == pytest.approx(expected, abs=1e-12)
    # The features of a network are float32; no image changes its side here.
    single = neighbour_scores(scored(count, seed=2, shift=shift), scored(seed=1), nearest_k)
    assert single == pytest.approx(expected, abs=1e-12)


def test_the_scores_of_a_few_points_are_those_of_a_hand() -> None:
    real, generated = on_a_line(0, 1, 3, 7), on_a_line(0.4, 0.6, 20)
    # With one neighbour the real radii are 1, 1, 2, 4; the generated ones are 0.2, 0.2, 19.4.
    assert neighbour_scores(generated, real, nearest_k=1) == {
        "precision": pytest.approx(2 / 3),  # 20 is far from all
        "recall": pytest.approx(
            3 / 4
        ),  # 1, 3 and 7 are within 19.4 of 20; 0 is 0.4 from the nearest and 20 from the last
        "density": pytest.approx(4 / 3),  # 0.4 and 0.6 are each within the reach of 0 and 1; 2.4 from 3 is too far
        "coverage": pytest.approx(2 / 4),
    }


@pytest.mark.parametrize("block", [1, 7, 64, 299, 300, 1000])
def test_the_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = double(scored(seed=1)), double(scored(250, seed=2, shift=0.5))
    expected = neighbour_scores(generated, real)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    assert neighbour_scores(generated, real) == pytest.approx(expected, abs=1e-12)


def test_extremes() -> None:
    real = scored(seed=1)
    assert neighbour_scores(double(real), double(real), 5) == pytest.approx(
        {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    )
    far = scored(seed=2, shift=1000.0)
    assert neighbour_scores(far, real) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    # One good image, over and over: faithful, and without any variety.
    collapsed = Scored(real.features[:1] + 1e-4 * torch.randn(300, 6), real.logits, real.labels)
    values = neighbour_scores(collapsed, real)
    assert values["precision"] == 1
    assert values["recall"] < 0.01
    assert values["coverage"] < 0.05


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="5 neighbours need more than 5 images, not 5 and 300"):
        neighbour_scores(scored(5), scored(300), nearest_k=5)
    assert neighbour_scores(scored(6), scored(300), nearest_k=5)["precision"] > 0.5


def test_nearest_distances_are_sorted_distances() -> None:
    queries, points = scored(40, seed=1).features.double(), scored(70, seed=2).features.double()
    ordered = (queries[:, None] - points[None]).norm(dim=2).sort(dim=1).values
    for k in (1, 2, 70):
        assert torch.allclose(nearest_distances(queries, points, k), ordered[:, k - 1], atol=1e-9)
    assert nearest_distances(queries, queries, 1).abs().max() < 1e-6
