"""Images, features, distances and metrics are computed in full float32, whatever the process allows."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from src.evaluation import evaluator as evaluator_module
from src.evaluation import real_images as real_images_module
from src.evaluation.evaluator import Evaluator
from src.evaluation.metric import Context, Metric, Number
from src.evaluation.metrics.quick.memorisation import nearest_training
from src.evaluation.real_images import RealImages
from src.evaluation.scored import Scored, score_images
from src.networks.interface import Classifier, Generator
from src.sampling.draw import generate
from tests.evaluation.features import CHEAP
from tests.networks.tiny import pair
from tests.training.digits import classifier, digits, real_images

FULL = ("highest", False)


def allowed() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), bool(torch.backends.cudnn.allow_tf32)


@pytest.fixture(params=["high", "medium"])
def fast(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """The settings of a process that allows TF32 or bfloat16."""
    before = allowed()
    torch.set_float32_matmul_precision(request.param)
    torch.backends.cudnn.allow_tf32 = True
    yield request.param, True
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


class Watched(Classifier):
    """The digits' classifier. It notes what is allowed when it is called."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.network, self.broken, self.seen = classifier(), broken, set[tuple[str, bool]]()
        self.description = self.network.description

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.add(allowed())
        if self.broken:
            raise ZeroDivisionError
        found: tuple[Tensor, Tensor] = self.network(images)
        return found


class WatchedGenerator(Generator):
    """The same of a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.seen = pair()[0], set[tuple[str, bool]]()
        self.latent_size, self.class_count = self.network.latent_size, self.network.class_count

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        self.seen.add(allowed())
        images: Tensor = self.network(latents, labels)
        return images


def metric(compute: Callable[[], None]) -> Metric:
    def called(generated: Scored, real: Scored, context: Context) -> dict[str, Tensor]:
        compute()
        return {"number": torch.zeros(1, dtype=torch.float64)}

    return Metric({"number": Number("Number", "higher", "Group")}, called, "nobody")


def test_features_are(fast: tuple[str, bool]) -> None:
    network, images = Watched(), digits().test
    score_images(network, images.images[:5], images.labels[:5])
    assert network.seen == {FULL}
    assert allowed() == fast
    with pytest.raises(ZeroDivisionError):
        score_images(Watched(broken=True), images.images[:5], images.labels[:5])
    assert allowed() == fast


def test_images_are(fast: tuple[str, bool]) -> None:
    generator = WatchedGenerator()
    generate(generator, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    assert generator.seen == {FULL}
    assert allowed() == fast


def test_metrics_are(fast: tuple[str, bool]) -> None:
    seen: set[tuple[str, bool]] = set()
    evaluator, context = Evaluator(real_images(), "validation"), Context(CHEAP)
    for measure in (evaluator.measure, evaluator.measure_without_resamples):
        measure([metric(lambda: seen.add(allowed()))], evaluator.real, context)
        assert seen == {FULL}
        assert allowed() == fast
        with pytest.raises(ZeroDivisionError):
            measure([metric(lambda: 1 // 0)], evaluator.real, context)  # type: ignore[arg-type]
        assert allowed() == fast
        seen.clear()


def test_distances_to_training_images_are(fast: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, bool]] = set()

    def nearest(features: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
        seen.add(allowed())
        return nearest_training(features, train)

    for module in (evaluator_module, real_images_module):
        monkeypatch.setattr(module, "nearest_training", nearest)
    real = RealImages(classifier(), digits())
    real.scored("validation")
    assert seen == {FULL}
    seen.clear()
    Evaluator(real, "validation").score(digits().validation.images)
    assert seen == {FULL}
    assert allowed() == fast


def test_cached_features_are_so_that_their_key_needs_no_precision(fast: tuple[str, bool]) -> None:
    network = Watched()
    real = RealImages(network, digits())
    for split in ("validation", "test", "train"):
        real.scored(split)
    assert network.seen == {FULL}
