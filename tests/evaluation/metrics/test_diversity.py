import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances

from src.evaluation.metrics.diversity import class_spread
from src.evaluation.scored import Scored


def scored(features: torch.Tensor, labels: list[int]) -> Scored:
    return Scored(features, torch.zeros(len(features), 3), torch.tensor(labels))


def test_it_is_the_mean_distance_of_pairs_as_scikit_learn_finds_it() -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    labels = [number % 3 for number in range(40)]
    spread = class_spread(scored(features, labels), 3)
    for label in range(3):
        distances = pairwise_distances(features[torch.tensor(labels) == label].numpy())
        pairs = distances[np.triu_indices(len(distances), 1)]
        assert float(spread[label]) == pytest.approx(pairs.mean(), rel=1e-5)


def test_one_image_repeated_has_none_and_a_single_image_is_unknown() -> None:
    spread = class_spread(scored(torch.ones(6, 4), [0, 0, 0, 0, 0, 1]), 3)
    assert spread[0] == 0
    assert spread[1:].isnan().all()


def test_two_images_have_their_distance() -> None:
    spread = class_spread(scored(torch.tensor([[0.0, 0], [3, 4], [7, 7]]), [2, 2, 0]), 3)
    assert float(spread[2]) == 5
    assert spread[:2].isnan().all()
