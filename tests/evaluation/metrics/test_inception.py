import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from src.core import interrupts
from src.core.errors import UserError
from src.evaluation.bootstrap import estimate, resamples
from src.evaluation.catalogue import CATALOGUE
from src.evaluation.metrics import inception as inception_module
from src.evaluation.metrics.inception import (
    CPU_BATCH,
    FRECHET_RESAMPLES,
    LEFT_OUT,
    WEIGHTS_FILE,
    Inception,
    inception_scores,
)
from src.evaluation.metrics.quick.frechet import frechet_distance, frechet_rows
from src.evaluation.scored import Scored
from tests.evaluation.features import scored

CPU = torch.device("cpu")
REFUSED = "is damaged, or holds more than tensors and could run code: it was not opened"
OTHER = "does not hold the weights of torch-fidelity's Inception network"
NAMES = ["frechet_inception_distance", "kernel_inception_distance", "inception_score"]


def pictures(count: int, seed: int, size: int = 28) -> Tensor:
    """Grey images uint8 (N, 1, size, size) of coarse patches, each with a brightness and a contrast of its own."""
    rng = torch.Generator().manual_seed(seed)
    patches = nn.functional.interpolate(torch.rand(count, 1, 4, 4, generator=rng), size=(size, size), mode="bilinear")
    contrast, brightness = torch.rand(2, count, 1, 1, 1, generator=rng)
    images: Tensor = (255 * (patches * contrast + brightness * (1 - contrast))).to(torch.uint8)
    return images


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torch-fidelity's, with random weights, and layers whose outputs have mean 0 and deviation 1."""
    network_class = feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network_class, "load_state_dict", lambda *_: None)
        network = network_class("random", ["logits"])
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    nn.init.normal_(network.fc.weight, std=0.2)
    with torch.no_grad():
        network.train()(pictures(6, seed=9).expand(-1, 3, -1, -1))
    path: Path = tmp_path_factory.mktemp("inception") / WEIGHTS_FILE
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def inception(weights: Path) -> Inception:
    return Inception(weights, CPU)


@pytest.fixture(scope="module")
def real(inception: Inception) -> Scored:
    return inception.scored(pictures(12, seed=1), torch.arange(12) % 10)


def test_features_and_logits_are_those_of_torch_fidelity_on_grey_images_repeated(
    inception: Inception, real: Scored, weights: Path
) -> None:
    extractor = feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
        "theirs", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    features, logits = extractor(pictures(12, seed=1)[:3].repeat(1, 3, 1, 1))
    assert torch.allclose(real.features[:3], features, rtol=1e-4, atol=1e-4)
    assert torch.allclose(real.logits[:3], logits, rtol=1e-4, atol=1e-3)
    assert (real.features.shape, real.logits.shape) == ((12, 2048), (12, 1008))
    assert (real.features.dtype, real.logits.dtype) == (torch.float32, torch.float32)
    assert torch.equal(real.labels, torch.arange(12) % 10)
    # The random network does tell images apart.
    assert real.features.std(dim=0).mean() > 0.02


def test_what_is_found_for_an_image_has_the_same_bits_in_any_company_and_in_colour(
    inception: Inception, real: Scored
) -> None:
    last = pictures(12, seed=1)[-3:]
    for images in (last, last.expand(-1, 3, -1, -1)):
        alone = inception.scored(images, torch.zeros(3, dtype=torch.int64))
        assert torch.equal(alone.features, real.features[-3:])
        assert torch.equal(alone.logits, real.logits[-3:])


class Pictures(Dataset[Tensor]):
    """As torch-fidelity takes them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Tensor:
        return self.images[place]


@pytest.mark.parametrize("layer", ["64", pytest.param("2048", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_scores_are_those_of_torch_fidelity_from_images_to_numbers(
    layer: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an early layer too: numpy's eigenvalues of 2,048 features take most of a minute."""
    monkeypatch.setattr(inception_module, "FEATURES", layer)
    monkeypatch.setattr(inception_module, "CPU_BATCH", 4)
    network, images, others = Inception(weights, CPU), pictures(4, seed=2).bitwise_not() // 2, pictures(4, seed=1)
    expected = torch_fidelity.calculate_metrics(
        input1=Pictures(images),
        input2=Pictures(others),
        isc=True,
        fid=True,
        kid=True,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=4,
        isc_splits=1,
        kid_subsets=1,
        kid_subset_size=4,
        samples_shuffle=False,
        feature_layer_fid=layer,
        feature_layer_kid=layer,
        feature_extractor_weights_path=str(weights),
    )
    labels = torch.arange(4)
    found = inception_scores(network.scored(images, labels), network.scored(others, labels))
    keys = (KEY_METRIC_FID, KEY_METRIC_KID_MEAN, KEY_METRIC_ISC_MEAN)
    assert [float(found[name]) for name in NAMES] == [pytest.approx(expected[key], rel=1e-4) for key in keys]
    assert float(found["frechet_inception_distance"]) > (1 if layer == "2048" else 0.01)


def test_the_arithmetic_is_that_of_torch_fidelity_on_the_same_features() -> None:
    generated, real = scored(200, 40, seed=2, shift=0.5), scored(200, 40, seed=1)
    doubles = [one.features.double() for one in (generated, real)]
    fid = fid_statistics_to_metric(*map(fid_features_to_statistics, doubles), False)[KEY_METRIC_FID]
    kid = kid_features_to_metric(*doubles, kid_subsets=1, kid_subset_size=200, verbose=False)[KEY_METRIC_KID_MEAN]
    score = isc_features_to_metric(generated.logits, splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN]
    found = inception_scores(generated, real)
    assert list(found) == NAMES
    assert [float(found[name]) for name in NAMES] == [pytest.approx(each, rel=1e-6) for each in (fid, kid, score)]
    assert set(NAMES) <= set(CATALOGUE)


def test_identical_sets_have_no_distance() -> None:
    one = scored(300, 40)
    found = inception_scores(one, one)
    assert 0 <= float(found["frechet_inception_distance"]) < 1e-6
    # The estimator without bias is below zero for sets that share images, and as far as torch-fidelity's.
    theirs = kid_features_to_metric(*2 * [one.features.double()], kid_subsets=1, kid_subset_size=300, verbose=False)
    assert float(found["kernel_inception_distance"]) == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-6)


def test_each_row_is_the_score_of_the_images_that_its_resample_has() -> None:
    generated, real = (
        one.resampled(resamples(one.labels, 3, seed)) for seed, one in enumerate((scored(shift=0.4), scored(seed=1)))
    )
    found = inception_scores(generated, real)
    assert {name: rows.shape for name, rows in found.items()} == dict.fromkeys(NAMES, torch.Size([4]))
    for row in range(4):
        ours, theirs = (one.weights[row].long() for one in (generated, real))
        features, logits, labels = (
            tensor.repeat_interleave(ours, 0) for tensor in (generated.features, generated.logits, generated.labels)
        )
        drawn = Scored(features, logits, labels)
        others = real.features.repeat_interleave(theirs, 0)
        assert float(found["frechet_inception_distance"][row]) == pytest.approx(
            frechet_distance(drawn.features, others), rel=1e-9
        )
        alone = inception_scores(drawn, drawn)["inception_score"]
        assert float(found["inception_score"][row]) == pytest.approx(float(alone), rel=1e-9)
    assert len(found["kernel_inception_distance"].unique()) == 4


def test_the_frechet_distance_has_rows_of_the_first_resamples_alone() -> None:
    one, other = scored(60, shift=0.4), scored(60, seed=1)
    generated, real = (each.resampled(resamples(each.labels, FRECHET_RESAMPLES + 5, seed=3)) for each in (one, other))
    found = inception_scores(generated, real)
    assert [len(found[name]) for name in NAMES] == [
        1 + FRECHET_RESAMPLES,
        6 + FRECHET_RESAMPLES,
        6 + FRECHET_RESAMPLES,
    ]
    interval = estimate(found["frechet_inception_distance"])
    assert interval.low < interval.value < interval.high


def test_the_rows_come_one_at_a_time_and_do_not_mind_features_far_from_zero() -> None:
    generated, real = scored(shift=0.4), scored(seed=1)
    far = frechet_rows(generated.features.double() + 1e4, real.features.double() + 1e4, generated.weights, real.weights)
    assert float(next(far)) == pytest.approx(frechet_distance(generated.features, real.features), rel=1e-6)
    assert next(far, None) is None


def test_a_few_images_that_all_look_alike_still_have_scores() -> None:
    one = scored(2, 40)
    same = Scored(one.features[:1].expand(2, -1), one.logits[:1].expand(2, -1), one.labels)
    found = inception_scores(same, one)
    assert all(np.isfinite(float(rows)) for rows in found.values())
    assert float(found["inception_score"]) == pytest.approx(1)
    with pytest.raises(UserError, match="FID, KID and Inception Score: needs at least 2 images, there are 1"):
        inception_scores(one.head(1), one)


def test_an_interrupt_is_handled_between_batches(inception: Inception, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([None, KeyboardInterrupt()])

    def check() -> None:
        if (error := next(rounds)) is not None:
            raise error

    monkeypatch.setattr(interrupts, "check", check)
    with pytest.raises(KeyboardInterrupt):
        inception.scored(
            pictures(CPU_BATCH + 1, seed=3),
            torch.zeros(CPU_BATCH + 1, dtype=torch.int64),
        )


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.trace, "it ran")


@pytest.mark.parametrize("how", ["torch", "torch, old format", "pickle", "hidden among tensors"])
def test_code_in_the_file_is_not_run(how: str, tmp_path: Path) -> None:
    path, trace = tmp_path / WEIGHTS_FILE, tmp_path / "trace"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Malicious(trace)))
    else:
        content = {"fc.bias": torch.zeros(3), "x": Malicious(trace)} if "hidden" in how else Malicious(trace)
        torch.save(content, path, _use_new_zipfile_serialization="old" not in how)
    with pytest.raises(UserError, match=REFUSED):
        Inception(path, CPU)
    assert not trace.exists()
    # The same file does run code where it is trusted.
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()


def damaged(path: Path, what: str, weights: Path) -> None:
    match what:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("Not Found\n")
        case "page":
            path.write_text("<!DOCTYPE html>\n<html><body>404</body></html>")
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "half a download":
            path.write_bytes(weights.read_bytes()[:1_000_000])
        case "another network":
            torch.save(nn.Linear(3, 4).state_dict(), path)
        case "a tensor":
            torch.save(torch.zeros(3), path)
        case "numbers":
            torch.save({1: 2}, path)
        case "a list":
            torch.save([torch.zeros(3)], path)
        case "another shape":
            torch.save({**torch.load(weights), "fc.bias": torch.zeros(1000)}, path)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("nothing", "cannot be read (No such file or directory)"),
        ("folder", "cannot be read (Is a directory)"),
        ("empty", REFUSED),
        ("text", REFUSED),
        ("page", REFUSED),
        ("noise", REFUSED),
        ("half a download", REFUSED),
        ("another network", OTHER),
        ("a tensor", OTHER),
        ("numbers", OTHER),
        ("a list", OTHER),
        ("another shape", OTHER),
    ],
)
def test_a_file_that_is_no_such_file_is_refused_in_one_sentence(
    what: str, why: str, tmp_path: Path, weights: Path
) -> None:
    path = tmp_path / "given.pth"
    damaged(path, what, weights)
    with pytest.raises(UserError) as caught:
        Inception(path, CPU)
    text = str(caught.value)
    assert text.startswith(f"evaluate.inception_weights: {path} {why}")
    assert text.endswith(f"it must be null or the path to {WEIGHTS_FILE}, which torch-fidelity publishes")
    assert "\n" not in text


def test_without_the_package_the_sentence_says_so(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match="the package torch-fidelity cannot be imported"):
        Inception(weights, CPU)


def test_where_no_weights_are_given_a_line_says_what_is_left_out_and_how_to_have_it() -> None:
    assert LEFT_OUT == (
        "FID, KID and Inception Score: left out, since evaluate.inception_weights is null "
        "(a path to torch-fidelity's weights-inception-2015-12-05-6726825d.pth turns them on)"
    )
