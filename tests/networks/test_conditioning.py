import pytest
import torch

from src.networks.conditioning import Head, join_to_image, join_to_vector


def test_the_label_joins_a_vector_as_one_hot() -> None:
    joined = join_to_vector(torch.tensor([[0.5, 2.0], [3.0, 4.0]]), torch.tensor([2, 0]), 3)
    assert joined.tolist() == [[0.5, 2, 0, 0, 1], [3, 4, 1, 0, 0]]


def test_weights_of_the_classes_join_a_vector_as_they_are() -> None:
    vector = torch.tensor([[0.5, 2.0], [3.0, 4.0]], dtype=torch.float64)
    joined = join_to_vector(vector, torch.tensor([[0.25, 0.75, 0], [0, 0, 1]]), 3)
    assert joined.dtype == torch.float64
    assert joined.tolist() == [[0.5, 2, 0.25, 0.75, 0], [3, 4, 0, 0, 1]]


def test_the_label_joins_an_image_as_planes() -> None:
    images = torch.rand(2, 1, 4, 5)
    joined = join_to_image(images, torch.tensor([1, 0]), 2)
    assert joined.shape == (2, 3, 4, 5)
    assert torch.equal(joined[:, :1], images)
    assert joined[:, 1:].mean(dim=(2, 3)).tolist() == [[0, 1], [1, 0]]
    assert joined[:, 1:].unique().tolist() == [0, 1]


@pytest.mark.parametrize("projection", [False, True])
def test_the_head_is_linear_plus_the_projection(projection: bool) -> None:
    torch.manual_seed(0)
    head = Head(4, 3, projection=projection)
    features, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 0])
    expected = features @ head.linear.weight[0] + head.linear.bias
    if projection:
        assert head.embedding is not None
        expected = expected + torch.stack(
            [head.embedding.weight[label] @ row for row, label in zip(features, labels, strict=True)]
        )
    assert torch.allclose(head(features, labels), expected, atol=1e-6)
    assert sum(parameter.numel() for parameter in head.parameters()) == 5 + (12 if projection else 0)
