import pytest
import torch

from tests.networks.tiny import CLASSES, batch, classifier


@pytest.mark.parametrize("size", [8, 28, 30, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_features_and_logits_have_their_shapes(channels: int, size: int) -> None:
    network = classifier(channels=channels, size=size)
    images, _, _ = batch(channels=channels, size=size)
    features, logits = network(images)
    assert (features.shape, logits.shape) == ((8, 7), (8, CLASSES))
    assert (features >= 0).all()


def test_the_logits_are_linear_in_the_features_without_dropout() -> None:
    network = classifier().eval()
    images, _, _ = batch()
    with torch.no_grad():
        features, logits = network(images)
        assert torch.equal(network.get_submodule("head")(features), logits)
        alone = torch.cat([network(image[None])[1] for image in images])
    assert torch.allclose(alone, logits, rtol=0, atol=1e-6)


def test_dropout_acts_on_the_logits_alone_and_only_while_training() -> None:
    network = classifier()
    images, _, _ = batch(30)
    (features, logits), (same_features, other_logits) = network(images), network(images)
    assert torch.equal(features, same_features)
    assert not torch.equal(logits, other_logits)
    network.eval()
    assert torch.equal(network(images)[1], network(images)[1])


def test_the_gradient_reaches_every_parameter() -> None:
    network = classifier()
    images, labels, _ = batch(30)
    torch.nn.functional.cross_entropy(network(images)[1], labels).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
