"""How scores are computed on a GPU: without waiting for it, on one device, by deterministic operations.

Most is checked without one. A fake tensor of PyTorch has a device, a shape and a dtype, but no values: an operation on fake
tensors of a GPU fails where it would mix devices, and where it needs a value on the CPU, which is a wait.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from src.core.device import GPU_BATCH, on_cpu
from src.evaluation import judge as judge_module
from src.evaluation.catalogue import METRICS, QUICK
from src.evaluation.evaluator import checked_images
from src.evaluation.judge import ValidationJudge
from src.evaluation.metric import Context, Metric, Rows, rows
from src.evaluation.metrics import reconstruction
from src.evaluation.real_images import RealImages
from src.evaluation.scored import Scored, class_spread, score_images
from src.networks.classifier import build_classifier
from src.networks.interface import Generator
from src.sampling.draw import draw, generate, interpolate
from tests.evaluation.features import CHEAP, resampled, scored
from tests.networks.tiny import FAMILIES, pair
from tests.training.digits import classifier, digits
from tests.training.digits import judge as cpu_judge

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FEATURES_ONLY = tuple(metric for metric in METRICS if metric.when(Context(CHEAP)))
"""the metrics that neither train nor search"""

READS = {"item", "_local_scalar_dense", "equal"}
"""operations whose result the CPU reads"""
WAITS = READS | {"nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select"}
"""those, and operations whose shape depends on values"""
JOINED = {"cat", "stack"}
"""operations that refuse even a single number on another device"""
NONDETERMINISTIC = {
    *("avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    *("adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
    *("max_unpool2d", "max_unpool3d", "nll_loss2d_forward", "_ctc_loss_backward", "_embedding_bag_backward"),
    *(f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
    *("put", "put_", "histc", "bincount", "median", "nanmedian"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "scatter_reduce", "scatter_reduce_"),
}
"""Operations that raise on a GPU with ``torch.use_deterministic_algorithms(True)``, by its documentation in PyTorch 2.14, some
only for some arguments. ``cumsum``, ``index_add_`` and ``kthvalue`` have deterministic kernels there."""


class Operations(TorchDispatchMode):
    """Notes the names of the operations that run, and each copy from one device to another; refuses mixed devices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: Counter[str] = Counter()
        self.copies: list[tuple[str, str]] = []

    def clear(self) -> None:
        self.names.clear()
        self.copies.clear()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        result = function(*args, **(kwargs or {}))
        if name == "device":  # the question which one a tensor is on
            return result
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        devices = {one.device.type for one in tensors if one.ndim or name in JOINED}
        if name in ("to", "_to_copy", "copy_"):
            ends = args[1] if name == "copy_" else args[0], result
            if (copy := tuple(end.device.type for end in ends)) != (copy[0],) * 2:
                self.copies.append(copy)
        else:
            assert len(devices) <= 1, f"{name} mixes devices"
        booleans = [one for one in tree_leaves(args[1:]) if isinstance(one, Tensor) and one.dtype == torch.bool]
        if name in ("index", "index_put", "index_put_") and booleans:
            name = "nonzero"  # which finds the places of a mask
        self.names[name] += 1
        return result


@contextmanager
def pretended_gpu() -> Iterator[Operations]:
    """Within it, tensors are fake; those that exist already count as the CPU's."""
    with FakeTensorMode(allow_non_fake_inputs=True), Operations() as operations:
        yield operations


def moved(value: Any) -> Any:
    """Tensors, or lists and images with them, on the pretended GPU."""
    if isinstance(value, Scored):
        there = replace(value, **{one.name: moved(getattr(value, one.name)) for one in fields(value)})
        return replace(there, images=value.images)  # real images stay where they are
    return tree_map_only(Tensor, lambda one: torch.empty(one.shape, dtype=one.dtype, device=GPU), value)


def on_gpu(build: Callable[[], Any]) -> Any:
    """A network that is built on the pretended GPU, in evaluation mode."""
    with torch.device("cuda"):
        return build().eval()


def judge_on_gpu() -> ValidationJudge:
    """A judge that has scored before, on the pretended GPU with all that it keeps."""
    judge = ValidationJudge(RealImages(classifier(), digits()), samples=240)
    with torch.no_grad():
        judge(pair("mlp", class_count=10)[0])
    return judge


def move(judge: ValidationJudge) -> None:
    judge.real_images.classifier = on_gpu(
        lambda: build_classifier(class_count=10, channels=1, image_size=8, width=8, feature_size=32, dropout=0.5)
    )
    judge.evaluator.device = GPU
    for part in (judge.evaluator, judge):
        for name, value in vars(part).items():
            if isinstance(value, Tensor | Scored):
                setattr(part, name, moved(value))
    judge.real = judge.evaluator.real


def kept(one: Scored) -> Scored:
    """The same with the places of its classes, which the evaluator knows from the real images."""
    _ = one.members
    return one


def test_rows_of_a_gpu_are_copied_together() -> None:
    plain = [torch.arange(3.0), torch.tensor(5.0), torch.arange(6.0).reshape(2, 3)]
    assert on_cpu(plain) == plain
    with pretended_gpu() as operations:
        mixed = [torch.ones(3), moved(torch.ones(2, 4)), torch.ones(()), moved(torch.ones(5))]
        assert operations.copies == []
        found = on_cpu(mixed)
        assert operations.copies == [("cuda", "cpu")]
    assert [(one.shape, one.device) for one in found] == [(one.shape, CPU) for one in mixed]
    assert found[0] is mixed[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_drawn_without_waiting(family: str) -> None:
    with pretended_gpu() as operations:
        generator: Generator = on_gpu(lambda: pair(family)[0])
        labels, seeds = (torch.zeros(2 * GPU_BATCH + 1, dtype=torch.int64, device=GPU) for _ in range(2))
        operations.clear()
        images = draw(generator, labels, seeds)
        assert (images.shape, images.dtype, images.device) == ((2 * GPU_BATCH + 1, 1, 8, 8), torch.uint8, GPU)
        assert operations.copies == []
        assert not operations.names.keys() & WAITS
        # Labels and seeds on the CPU are copied to the GPU, and pictures back.
        pictures = interpolate(generator, labels[:3].cpu(), seeds[:3].cpu(), seeds[:3].cpu() + 1, 4)
        assert (pictures.shape, pictures.device) == ((12, 1, 8, 8), CPU)


def test_features_are_computed_without_waiting() -> None:
    with pretended_gpu() as operations:
        judge = on_gpu(
            lambda: build_classifier(class_count=10, channels=3, image_size=32, width=8, feature_size=16, dropout=0.5)
        )
        images = torch.zeros(GPU_BATCH + 1, 3, 32, 32, dtype=torch.uint8, device=GPU)
        labels = torch.zeros(len(images), dtype=torch.int64, device=GPU)
        operations.clear()
        found = score_images(judge, images, labels)
        assert not operations.names.keys() & WAITS
        assert operations.copies == []
    assert (found.features.shape, found.features.dtype, found.features.device) == ((1001, 16), torch.float32, GPU)
    assert (found.logits.shape, found.logits.dtype, found.labels.device) == ((1001, 10), torch.float32, GPU)


@pytest.mark.parametrize("metric", QUICK, ids=lambda metric: next(iter(metric.numbers)))
def test_a_quick_metric_reads_no_number_and_has_no_shape_that_depends_on_data(metric: Metric) -> None:
    generated, real = kept(resampled(scored(seed=1))), kept(resampled(scored(seed=2)))
    metric.compute(kept(resampled(scored(seed=3))), real, Context(CHEAP))  # what is kept of the real images
    with Operations() as operations:
        metric.compute(generated, real, Context(CHEAP))
    # None is justified: eigenvalues are computed on the CPU, and rows are read by :func:`rows`, both after one copy.
    assert operations.names.keys() & WAITS == set()


@pytest.mark.parametrize("metric", FEATURES_ONLY, ids=lambda metric: next(iter(metric.numbers)))
def test_a_metric_runs_only_operations_that_a_deterministic_training_allows(metric: Metric) -> None:
    with Operations() as operations:
        metric.compute(resampled(scored(seed=1)), resampled(scored(seed=2)), Context(CHEAP))
    assert operations.names.keys() & NONDETERMINISTIC == set()


@pytest.mark.parametrize("metric", FEATURES_ONLY, ids=lambda metric: next(iter(metric.numbers)))
def test_a_metric_stays_on_one_device(metric: Metric) -> None:
    generated, real = kept(resampled(scored(seed=1))), kept(resampled(scored(seed=2)))
    expected = rows([metric], generated, real, Context(CHEAP))
    with pretended_gpu() as operations:
        ours, theirs = moved(generated), moved(real)
        operations.clear()
        found = rows([metric], ours, theirs, Context(CHEAP))
        # The moments of the Frechet distances, whose eigenvalues are computed on the CPU, or the rows of another metric.
        assert operations.copies == [("cuda", "cpu")]
    assert kinds(found) == kinds(expected)


def kinds(found: Rows) -> dict[str, tuple[Any, ...]]:
    return {name: (some.shape, some.dtype, some.device) for name, some in found.items()}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Rows]:
    """The rows that the judge measures; it reads no value."""
    some: list[Rows] = []

    def take(rows: Rows) -> dict[str, float]:
        some.append(rows)
        return {}

    monkeypatch.setattr(judge_module, "values", take)
    monkeypatch.setattr(judge_module, "objective", lambda *_, **__: 0.0)
    return some


@pytest.mark.parametrize("conditioning", ["concat", "none"])
def test_a_score_waits_twice(conditioning: str, found: list[Rows]) -> None:
    judge = judge_on_gpu()
    with pretended_gpu() as operations:
        move(judge)
        generator = on_gpu(lambda: pair("dcgan", conditioning, class_count=10)[0])
        operations.clear()
        judge(generator)
        # The moments of the Frechet distances, and the rows of all other metrics.
        assert operations.copies == [("cuda", "cpu")] * 2
        assert not operations.names.keys() & WAITS
        # Each takes the CPU some 10 µs.
        assert operations.names.total() < 600
        operations.clear()
        diversity = judge.diversity(generator)
        assert operations.names.total() < 200
        assert operations.copies == [("cuda", "cpu")]
        assert not operations.names.keys() & WAITS
    assert (diversity.shape, diversity.device) == ((10,), CPU)
    assert all((some.dtype, some.device) == (torch.float64, CPU) for some in found[0].values())


def test_the_spread_of_a_class_with_one_image_is_unknown_on_the_same_device() -> None:
    one = kept(scored(7, classes=4))
    with pretended_gpu() as operations:
        there = moved(one)
        spread = class_spread(there)
        assert not operations.names.keys() & WAITS
    assert (spread.shape, spread.device) == ((4,), GPU)


@pytest.mark.parametrize("count", [100, 350])
def test_the_check_of_pixels_reads_its_numbers_once(count: int) -> None:
    labels = torch.zeros(count, dtype=torch.int64)
    with Operations() as operations:
        checked_images(pair("mlp", "none")[0], labels, torch.arange(count), digits().test.images)
    # The number of broken images, the ends of both ranges, and the darkest real pixel; not one of each batch.
    assert sum(operations.names[name] for name in READS) == 8


def test_a_generator_on_the_cpu_is_judged_too(found: list[Rows]) -> None:
    judge = judge_on_gpu()
    with pretended_gpu():
        move(judge)
        judge(pair("dcgan", class_count=10)[0])
    assert all(some.device == CPU for some in found[0].values())


@pytest.mark.parametrize("conditional", [True, False])
def test_reconstructions_stay_on_one_device(conditional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "STEPS", 0)  # fake tensors have gradients only beside a real GPU
    settings = CHEAP.model_copy(update={"reconstructions": 4})
    one, images = scored(60, classes=10), torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    with pretended_gpu() as operations:
        # Real images stay on the CPU, as those of an evaluation that are made for their labels.
        generated, real = (replace(moved(one), images=images) for _ in range(2))
        generator = on_gpu(lambda: pair("dcgan", "concat" if conditional else "none", class_count=10)[0])
        for made_by in (generator, None):
            context = Context(settings, conditional, generator=made_by, device=GPU)
            found = rows([reconstruction.METRIC], generated, real, context)
            assert kinds(found) == dict.fromkeys(reconstruction.METRIC.numbers, ((1,), torch.float64, CPU))
        assert not operations.names.keys() & (WAITS | NONDETERMINISTIC)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestOnAGpu:
    @pytest.fixture(scope="class")
    def judge(self) -> ValidationJudge:
        return ValidationJudge(RealImages(copy.deepcopy(classifier()).to(GPU), digits()), samples=240)

    def test_scores_are_those_of_a_cpu(self, judge: ValidationJudge) -> None:
        made = pair("mlp", class_count=10)[0]
        expected, found = cpu_judge()(made), judge(copy.deepcopy(made).to(GPU))
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-2)
        assert judge.diversity(copy.deepcopy(made).to(GPU)).device == CPU

    def test_images_are_drawn_and_seen_without_waiting(self, judge: ValidationJudge) -> None:
        made = pair("dcgan", class_count=10)[0].to(GPU)
        judge(made)
        torch.cuda.set_sync_debug_mode("error")
        try:
            judge.evaluator.score(judge.evaluator.draw(made))
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_an_image_has_the_same_bits_in_any_batch(self) -> None:
        made = pair("dcgan")[0].to(GPU)
        labels, seeds = torch.arange(2500) % 3, torch.arange(2500)
        whole = generate(made, labels, seeds)
        for places in (slice(7, 8), slice(990, 1010), slice(3, 2400)):
            assert torch.equal(generate(made, labels[places], seeds[places]), whole[places])

    def test_tf32_changes_no_bit(self, judge: ValidationJudge) -> None:
        made = pair("dcgan", class_count=10)[0].to(GPU)
        expected = judge(made)
        torch.set_float32_matmul_precision("high")
        try:
            assert judge(made) == expected
        finally:
            torch.set_float32_matmul_precision("highest")

    def test_a_deterministic_training_can_be_scored(self, judge: ValidationJudge) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            judge(pair("dcgan", class_count=10)[0].to(GPU))
        finally:
            torch.use_deterministic_algorithms(False)
