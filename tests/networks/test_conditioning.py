import pytest
import torch
from torch.nn import functional as F

from src.networks.conditioning import (
    EMBEDDING_SIZE,
    ConditionalBatchNorm,
    Head,
    ImageLabel,
    VectorLabel,
    class_weights,
    latent_label,
)


def test_the_label_joins_a_vector_as_one_hot() -> None:
    join = VectorLabel(2, 3, "concat")
    assert join.size == 5
    joined = join(torch.tensor([[0.5, 2.0], [3.0, 4.0]]), torch.tensor([2, 0]))
    assert joined.tolist() == [[0.5, 2, 0, 0, 1], [3, 4, 1, 0, 0]]


def test_weights_of_the_classes_join_a_vector_as_they_are() -> None:
    vector = torch.tensor([[0.5, 2.0], [3.0, 4.0]], dtype=torch.float64)
    joined = VectorLabel(2, 3, "concat")(vector, torch.tensor([[0.25, 0.75, 0], [0, 0, 1]]))
    assert joined.dtype == torch.float64
    assert joined.tolist() == [[0.5, 2, 0.25, 0.75, 0], [3, 4, 0, 0, 1]]


@pytest.mark.parametrize(("classes", "size"), [(3, 3), (100, EMBEDDING_SIZE)])
def test_an_embedding_joins_a_row_for_each_class_and_mixes_rows_by_weight(classes: int, size: int) -> None:
    join = VectorLabel(2, classes, "embedding")
    assert join.size == 2 + size
    vectors = torch.zeros(2, 2)
    first, last = join(vectors, torch.tensor([0, classes - 1]))[:, 2:]
    assert not torch.equal(first, last)
    halves = torch.zeros(2, classes)
    halves[:, [0, classes - 1]] = 0.5
    assert torch.allclose(join(vectors, halves)[:, 2:], (first + last) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("conditioning", "size"),
    [("none", 4), ("batch_norm", 4), ("concat", 7), ("projection", 7), ("auxiliary", 7), ("embedding", 7)],
)
def test_what_joins_the_latent(conditioning: str, size: int) -> None:
    join = latent_label(4, 3, conditioning)
    assert join.size == size
    assert join(torch.zeros(2, 4), torch.tensor([0, 1])).shape == (2, size)


def test_the_label_joins_an_image_as_planes() -> None:
    images = torch.rand(2, 1, 5, 5)
    join = ImageLabel(1, 5, 2, "concat")
    joined = join(images, torch.tensor([1, 0]))
    assert joined.shape == (2, join.channels, 5, 5) == (2, 3, 5, 5)
    assert torch.equal(joined[:, :1], images)
    assert joined[:, 1:].mean(dim=(2, 3)).tolist() == [[0, 1], [1, 0]]
    assert joined[:, 1:].unique().tolist() == [0, 1]


def test_an_embedding_joins_an_image_as_a_plane_of_its_class() -> None:
    images, join = torch.rand(3, 2, 5, 5), ImageLabel(2, 5, 4, "embedding")
    joined = join(images, torch.tensor([1, 0, 1]))
    assert joined.shape == (3, join.channels, 5, 5) == (3, 3, 5, 5)
    assert torch.equal(joined[:, :2], images)
    assert torch.equal(joined[0, 2], joined[2, 2])
    assert not torch.equal(joined[0, 2], joined[1, 2])


@pytest.mark.parametrize("conditioning", ["none", "projection", "auxiliary", "batch_norm"])
def test_other_conditionings_leave_the_image_alone(conditioning: str) -> None:
    images, join = torch.rand(2, 1, 4, 4), ImageLabel(1, 4, 3, conditioning)
    assert join.channels == 1
    assert join(images, torch.tensor([0, 1])) is images


@pytest.mark.parametrize("conditioning", ["none", "concat", "embedding", "projection", "batch_norm", "auxiliary"])
def test_the_head_is_linear_with_a_projection_or_a_second_head(conditioning: str) -> None:
    torch.manual_seed(0)
    head = Head(4, 3, conditioning)
    features, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 0])
    logits, classes = head(features, labels)
    expected = features @ head.linear.weight[0] + head.linear.bias
    if conditioning in ("projection", "batch_norm"):
        assert head.embedding is not None
        rows = zip(features, labels, strict=True)
        expected = expected + torch.stack([head.embedding.weight[label] @ row for row, label in rows])
    assert torch.allclose(logits, expected, atol=1e-6)
    if conditioning == "auxiliary":
        assert head.classes is not None
        assert torch.allclose(classes, F.linear(features, head.classes.weight, head.classes.bias))
    else:
        assert classes is None
    more = {"projection": 12, "batch_norm": 12, "auxiliary": 15}.get(conditioning, 0)
    assert sum(parameter.numel() for parameter in head.parameters()) == 5 + more


def test_conditional_batch_norm_is_batch_norm_with_the_gain_and_bias_of_the_class() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 4, 3, 3) * 3 + 1, torch.tensor([0, 1, 2, 0, 1, 2])
    layer = ConditionalBatchNorm(4, 3)
    plain = F.batch_norm(images, None, None, training=True)
    assert torch.allclose(layer(images, class_weights(labels, 3)), plain, atol=1e-6)
    with torch.no_grad():
        layer.gain.copy_(torch.randn(3, 4))
        layer.bias.copy_(torch.randn(3, 4))
    expected = plain * layer.gain[labels][:, :, None, None] + layer.bias[labels][:, :, None, None]
    assert torch.allclose(layer(images, class_weights(labels, 3)), expected, atol=1e-5)
