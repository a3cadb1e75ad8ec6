import torch

from src.metrics.scored import score_images
from src.pixels import to_float
from tests.training.digits import classifier, digits


def test_images_are_seen_as_the_classifier_sees_them_in_order() -> None:
    images, labels = digits().test.images[:50], digits().test.labels[:50]
    scored = score_images(classifier(), images, labels)
    with torch.no_grad():
        features, logits = classifier()(to_float(images))
    assert torch.allclose(scored.features, features, atol=1e-6)
    assert torch.allclose(scored.logits, logits, atol=1e-6)
    assert torch.equal(scored.labels, labels)
    assert (scored.features.dtype, scored.logits.dtype) == (torch.float32, torch.float32)
    assert len(scored) == 50


def test_the_batch_size_does_not_matter() -> None:
    images, labels = digits().test.images, digits().test.labels
    whole = score_images(classifier(), images, labels, batch_size=1000)
    for batch_size in (1, 100, 356):
        parts = score_images(classifier(), images, labels, batch_size=batch_size)
        assert torch.allclose(parts.features, whole.features, rtol=0, atol=1e-5)
        assert torch.allclose(parts.logits, whole.logits, rtol=0, atol=1e-5)
        assert torch.equal(parts.labels, whole.labels)


def test_the_head_is_the_first_images() -> None:
    images, labels = digits().test.images[:50], digits().test.labels[:50]
    head = score_images(classifier(), images, labels).head(7)
    assert (len(head), head.features.shape, head.logits.shape) == (7, (7, 32), (7, 10))
    assert torch.equal(head.labels, labels[:7])
    assert len(head.head(100)) == 7
