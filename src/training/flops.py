"""Floating-point operations of networks, counted with PyTorch's formulas."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..config.params import Params
from ..networks.interface import Generator
from .engine import Engine, images_per_step
from .step.losses import has_gradient_penalty


class FlopCount(TorchDispatchMode):
    """Sums the operations of matrix products and convolutions, forward and backward.

    PyTorch's ``FlopCounterMode`` raises in ``autograd.grad``, which the gradient penalties call.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def drawing_flops(generator: Generator) -> int:
    """Operations to generate one image."""
    device = next(generator.parameters()).device
    count = FlopCount()
    with torch.no_grad(), count:
        generator(
            torch.zeros(1, generator.latent_size, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        )
    return count.total


def step_flops(params: Params, images: Tensor, labels: Tensor, class_count: int, *, penalise: bool) -> int:
    """Operations of one step on uint8 images (N, C, H, W), with or without the gradient penalties, at the full size."""
    plain = params.replace({"train.device": "cpu", "train.compile": "none"})
    engine = Engine(plain, images, labels, class_count)
    batch = images_per_step(params.train)
    real, some_labels = torch.randn(batch, *images.shape[1:]), torch.zeros(batch, dtype=torch.int64)
    engine.step.prepare(engine.steps)
    kind = engine.step.kind(0)._replace(penalises=penalise)
    count = FlopCount()
    with count:
        engine.step.update(real, some_labels, torch.randn(batch, params.model.latent_size), kind)
    return count.total


def training_flops(params: Params, images: Tensor, labels: Tensor, class_count: int) -> float:
    """Operations per real image shown: the mean over steps with and without gradient penalties."""
    train = params.train
    penalised = 1 / train.penalty_interval if has_gradient_penalty(train) else 0.0
    plain, more = (step_flops(params, images, labels, class_count, penalise=flag) for flag in (False, True))
    return ((1 - penalised) * plain + penalised * more) / images_per_step(train)
