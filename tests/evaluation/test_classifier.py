import torch

from src.data.prepared import Split
from src.evaluation.classifier import fit_classifier
from src.evaluation.metrics.quick.gan_test import gan_test
from src.evaluation.scored import score_images
from src.networks.weights import content_hash
from tests.training.digits import CLASSIFIER, CPU, classifier, digits


def test_the_digits_are_learned() -> None:
    scored = score_images(classifier(), digits().test.images, digits().test.labels)
    assert gan_test(scored, scored)["gan_test_accuracy"] >= 0.93
    assert scored.features.shape == (357, 32)


def test_the_result_is_ready_for_use_and_described() -> None:
    network = classifier()
    assert not any(module.training for module in network.modules())
    assert network.description == {
        "architecture": "conv classifier",
        "options": {
            "class_count": 10,
            "channels": 1,
            "image_size": 8,
            "width": 8,
            "feature_size": 32,
            "dropout": 0.3,
        },
    }


def test_the_seed_decides_every_bit() -> None:
    hashes = []
    for noise, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(noise)
        params = CLASSIFIER.model_copy(update={"epochs": 1, "seed": seed})
        hashes.append(content_hash(fit_classifier(params, digits().train, 10, CPU)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_fewer_images_than_a_batch_are_enough() -> None:
    few = Split(digits().train.images[:20], digits().train.labels[:20])
    network = fit_classifier(CLASSIFIER.model_copy(update={"epochs": 1}), few, 10, CPU)
    assert all(value.isfinite().all() for value in network.state_dict().values())
