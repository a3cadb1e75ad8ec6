"""A step makes the CPU wait for nothing, and runs on the device alone: checked without a GPU."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from src.core.pixels import to_float
from src.networks.interface import Growing
from src.training.engine import Engine
from src.training.step.augment import AUGMENTATIONS, Augmentation
from src.training.step.distributed import DistributedContext, Draws
from src.training.step.losses import find_loss
from tests.evaluation.test_gpu import WAITS
from tests.networks.tiny import CLASSES, LATENT, PAIRS, pair
from tests.training.digits import digits, tiny


class OneHot(TorchFunctionMode):
    """``one_hot`` checks its input on a CPU, and does not on a GPU."""

    inside = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        OneHot.inside = func is F.one_hot
        try:
            return func(*args, **(kwargs or {}))
        finally:
            OneHot.inside = False


class NoWaits(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        assert OneHot.inside or name not in WAITS, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("value", [lambda one: one.item(), lambda one: one.nonzero(), lambda one: bool(one > 0)])
def test_a_wait_is_found(value: Callable[[Tensor], object]) -> None:
    with pytest.raises(AssertionError, match="waits for the device"), NoWaits():  # type: ignore[no-untyped-call]
        value(torch.ones(()))


FAMILIES = [
    ("mlp", "concat"),
    ("dcgan", "projection"),
    ("compact", "batch_norm"),
    ("resnet", "batch_norm"),
    ("progressive", "auxiliary"),
]


@pytest.mark.parametrize(("family", "conditioning"), FAMILIES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_no_step_waits(family: str, conditioning: str, optimizer: str) -> None:
    split = digits().train
    params = tiny(
        model__family=family,
        model__conditioning=conditioning,
        model__width=8,
        model__dropout=0.1,
        model__spectral_norm=True,
        train__optimizer=optimizer,
        train__batch_size=8,
        train__kimg=0.08,
        train__gp_weight=1.0,
        train__r1_weight=1.0,
        train__r2_weight=1.0,
        train__penalty_interval=2,
        train__l1=1e-4,
        train__mirror=0.5,
        train__augment=list(AUGMENTATIONS),
        train__augment_target=0.6,
    )
    engine = Engine(params, split.images, split.labels, 10)
    assert engine.steps == 10
    with OneHot(), NoWaits():  # type: ignore[no-untyped-call]
        for _ in range(engine.steps):
            engine.advance()
    assert engine.end_interval().finite_steps == 10


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("family", "conditioning"), PAIRS)
def test_networks_run_on_the_gpu_alone(
    family: str, conditioning: str, precision: torch.dtype, cuda_autocast: None
) -> None:
    """Fake tensors have a device and a type, and no values: mixed devices are an error, and so is a wait."""
    found = set[torch.dtype]()

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            found.add(output.dtype)

    handle = register_module_forward_hook(note)
    with handle, FakeTensorMode():
        with torch.device("cuda"):
            generator, discriminator = pair(
                family, conditioning, spectral_norm=conditioning == "projection", dropout=0.1
            )
            labels, latents = torch.zeros(8, dtype=torch.int64), torch.empty(8, LATENT)
        for share in (0.0, 0.3, 1.0) if family == "progressive" else (1.0,):
            for part in (*generator.modules(), *discriminator.modules()):
                if isinstance(part, Growing):
                    part.grow(share)
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
                images = generator(latents, labels)
                logits, classes = discriminator(images, labels)
            for tensor, shape in ((images, (8, 1, 8, 8)), (logits, (8,)), (classes, (8, CLASSES))):
                if tensor is not None:
                    assert (tensor.device.type, tensor.shape, tensor.is_floating_point()) == ("cuda", shape, True)
    assert found == {precision}


@pytest.mark.parametrize(
    ("loss", "dtype"), list(product(("bce", "hinge", "relativistic"), (torch.float32, torch.bfloat16)))
)
def test_losses_and_augmentation_run_on_the_gpu_alone(loss: str, dtype: torch.dtype) -> None:
    draws = Draws(torch.Generator(), DistributedContext())
    draws._share = lambda draw, count, shape: torch.empty(count, *shape, device="cuda")  # type: ignore[method-assign]
    with FakeTensorMode():
        augmentation = Augmentation(list(AUGMENTATIONS), draws, target=0.6)
        augmentation.probability = torch.empty((), device="cuda")
        real = to_float(torch.empty(8, 1, 8, 8, dtype=torch.uint8, device="cuda"))
        augmented = augmentation(real.to(dtype))
        assert (augmented.device.type, augmented.dtype, augmented.shape) == ("cuda", dtype, (8, 1, 8, 8))
        losses = find_loss(loss, 0.1)
        logits = augmented.float().sum(dim=(1, 2, 3))
        for value in (losses.discriminator(logits, -logits), losses.generator(logits, -logits)):
            assert (value.device.type, value.dtype, value.shape) == ("cuda", torch.float32, ())
        augmentation.adapt((logits > 0).float().mean(), 8)
