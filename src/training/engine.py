"""The work of a run on the device: batches, latents, networks. No step synchronises with the device."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config.params import Params, Train
from ..core.device import resolve
from ..core.errors import UserError
from ..core.pixels import to_float
from ..data.batches import open_batches
from ..networks.description import build_pair
from .health import not_finite
from .step.adversarial import COUNTERS, AdversarialStep, Kind
from .step.distributed import DistributedContext, Draws
from .step.graph import GraphedStep


def images_per_step(train: Train) -> int:
    """Real images per step: one batch for each update of the discriminator."""
    return train.batch_size * train.critic_steps


def steps_for(train: Train, kimg: float) -> int:
    """The number of steps, at least 1, that show about ``kimg`` thousand real images."""
    return max(1, round(kimg * 1000 / images_per_step(train)))


@dataclass(frozen=True)
class Interval:
    """Statistics since the previous call of :meth:`Engine.end_interval`."""

    means: dict[str, float]
    """of COUNTERS, over steps and processes"""
    steps: int
    finite_steps: int
    """steps whose counters were all finite in this process"""


class Engine:
    """Batches, random numbers and networks of a run in this process. The same seed gives the same steps."""

    def __init__(self, params: Params, images: Tensor, labels: Tensor, class_count: int) -> None:
        """uint8 images (N, C, H, W) and int64 labels (N,). Raises UserError for an invalid batch size."""
        train, self.params = params.train, params
        self.context = resolve(train)
        device = self.device = self.context.device
        self.distributed = DistributedContext.join(device)
        self.steps = steps_for(train, train.kimg)
        self.done = 0
        """steps so far"""
        self.latent_rng = torch.Generator(device).manual_seed(train.seed)
        self.batches = open_batches(images, labels, device, train.seed, self.distributed.share)
        torch.manual_seed(train.seed)  # weights and dropout; batches and latents have generators of their own
        shape = {"class_count": class_count, "channels": images.shape[1], "image_size": images.shape[2]}
        networks = build_pair(params.model.family, **params.model.model_dump(exclude={"family"}), **shape)
        self._check_batch(networks[1].batch_multiple)
        # Convolutions are faster in channels_last, on CPUs and GPUs; linear layers are not affected.
        generator, discriminator = (
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for network in networks
        )
        for network in (generator, discriminator):
            self.distributed.synchronise(network)
        if self.distributed.size > 1:
            torch.manual_seed(train.seed + self.distributed.rank)  # different dropout in each process
        self.draws = Draws(self.latent_rng, self.distributed)
        self.step = AdversarialStep(
            generator, discriminator, train, self.steps, self.draws, bfloat16=self.context.bfloat16
        )
        self._graphed_step: GraphedStep | None = None
        if self._captures():
            self._graphed_step = GraphedStep(self._work, [self.latent_rng])
        # Sums over the steps of the current interval, and their number.
        self._sums = torch.zeros(len(COUNTERS), device=device)
        self._finite_steps = torch.zeros((), device=device)
        self.interval_steps = 0

    def _captures(self) -> bool:
        """Whether steps are captured. Raises UserError for ``train.compile: graph`` with several processes."""
        graphs, size = self.context.graphs, self.distributed.size
        if graphs and size > 1:
            if self.params.train.compile == "graph":
                raise UserError(
                    f"train.compile is graph, but steps of {size} processes are not captured; use auto or none"
                )
            if self.distributed.is_first:
                print(f"{size} processes train together: steps are not captured as CUDA graphs")
        return graphs and size == 1

    def _check_batch(self, multiple: int) -> None:
        batch_size, size = self.params.train.batch_size, self.distributed.size
        if batch_size % size:
            raise UserError(
                f"train.batch_size {batch_size} cannot be split over {size} processes; it must be a multiple of {size}"
            )
        if batch_size // size % multiple:
            raise UserError(
                f"train.batch_size {batch_size}{f' over {size} processes' if size > 1 else ''} is not allowed for model.family "
                f"{self.params.model.family}; it must be a multiple of {multiple * size}"
            )

    def advance(self) -> None:
        """One step."""
        images, labels = self.batches.next_batch(images_per_step(self.params.train))
        self.step.prepare(self.done)
        work = self._graphed_step or self._work
        with self.context.training_step():
            work(images, labels, self.step.kind(self.done))
        self.done += 1
        self.interval_steps += 1

    def _work(self, images: Tensor, labels: Tensor, kind: Kind) -> None:
        """The part of a step that runs on the device alone."""
        real = to_float(images).contiguous(memory_format=torch.channels_last)
        if mirror := self.params.train.mirror:
            real = torch.where(self.draws.uniform(len(real), 1, 1, 1) < mirror, real.flip(3), real)
        latents = self.draws.normal(len(real), self.params.model.latent_size)
        values = self.step.update(real, labels, latents, kind)
        self._sums += values
        self._finite_steps += values.isfinite().all()

    def end_interval(self) -> Interval:
        """Statistics since the previous call. Synchronises with the device; every process must call it."""
        steps = self.interval_steps
        means = self.distributed.mean(self._sums / steps).tolist()
        interval = Interval(dict(zip(COUNTERS, means, strict=True)), steps, int(self._finite_steps))
        self.interval_steps = 0
        self._sums.zero_()
        self._finite_steps.zero_()
        return interval

    @property
    def trained(self) -> dict[str, nn.Module]:
        """The networks that have optimisers, by name."""
        return {"generator": self.step.generator, "discriminator": self.step.discriminator}

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold a NaN or infinity; see :func:`src.training.health.not_finite`."""
        return not_finite(self.trained, self.step.optimizers)

    def state_dict(self) -> dict[str, Any]:
        """All state that the following steps depend on. Every process must call it."""
        return {
            "done": self.done,
            "step": self.step.state_dict(),
            "batches": self.batches.state_dict(),
            "latent_rng": self.latent_rng.get_state(),
            "process_rngs": self.distributed.gather(_rng_states(self.device)),
            "sums": self._sums,
            "finite_steps": self._finite_steps,
            "interval_steps": self.interval_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; the following steps are bit-identical."""
        self.done, self.interval_steps = state["done"], state["interval_steps"]
        self.step.load_state_dict(state["step"])
        self.batches.load_state_dict(state["batches"])
        self.latent_rng.set_state(state["latent_rng"])
        _set_rng_states(state["process_rngs"][self.distributed.rank], self.device)
        self._sums.copy_(state["sums"])
        self._finite_steps.copy_(state["finite_steps"])
        for network in self.trained.values():
            network.zero_grad(set_to_none=True)  # not finite after a divergence
        if self._graphed_step is not None:
            self._graphed_step.reset()


def _rng_states(device: torch.device) -> dict[str, Any]:
    """The random state of Python, NumPy and torch in this process, as plain values and tensors."""
    numpy: Any = np.random.get_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {
        "python": random.getstate(),
        "numpy": [numpy[0], torch.from_numpy(numpy[1].astype("int64")), *numpy[2:]],
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def _set_rng_states(state: Mapping[str, Any], device: torch.device) -> None:
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
