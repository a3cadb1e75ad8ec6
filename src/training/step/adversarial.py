"""One step of adversarial training, in the order of the algorithm: discriminator, generator, average."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ...config.params import Train
from ...networks.interface import Discriminator, Generator, Growing
from .augment import Augmentation
from .distributed import DistributedContext, Draws
from .losses import find_loss, gradient_penalty, has_gradient_penalty, l1_penalty, r1_penalty
from .optimizers import AveragedGenerator, LearningRates, Schedule, make_optimizer

COUNTERS = ("loss_discriminator", "loss_generator", "real_accuracy", "fake_accuracy")
"""What a step returns, in this order; accuracies of the discriminator."""


class Kind(NamedTuple):
    """What distinguishes steps: steps of one kind run the same kernels."""

    penalises: bool
    """whether the step has gradient penalties"""
    stages: tuple[tuple[int, bool], ...] = ()
    """of growing networks"""


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Within it, gradients pass through the network, and none are computed for its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class AdversarialStep:
    """Both networks, their optimisers and the averaged generator, updated by one call.

    With several processes, each has a part of the batch, and gradients are averaged over them.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        train: Train,
        steps: int,
        draws: Draws | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        """``draws`` (default: from ``train.seed``) provides the random numbers of augmentation and of gradient penalties."""
        self.generator, self.discriminator, self.train = generator, discriminator, train
        device = next(generator.parameters()).device
        self.draws = draws or Draws(torch.Generator(device).manual_seed(train.seed), DistributedContext())
        parallel = self.draws.distributed.parallel
        self._generate, self._discriminate = parallel(generator), parallel(discriminator)
        self.loss = find_loss(train.loss, train.label_smoothing)
        self.average = AveragedGenerator(generator, train.ema_decay)
        self.augment = Augmentation(
            train.augment,
            self.draws,
            probability=train.augment_probability,
            target=train.augment_target,
            images_to_one=train.augment_kimg * 1000,
        )
        self.steps = steps
        self.optimizers: tuple[Optimizer, Optimizer] = (
            make_optimizer(generator, train, train.lr_generator),
            make_optimizer(discriminator, train, train.lr_discriminator),
        )
        schedule = Schedule(steps, train.lr_schedule, train.lr_decay_from, train.lr_warmup)
        self.rates = LearningRates(self.optimizers, (train.lr_generator, train.lr_discriminator), schedule)
        self._growing = [
            part
            for network in self.named_networks().values()
            for part in network.modules()
            if isinstance(part, Growing)
        ]
        # A captured step must not cache casts of weights across replays.
        self._autocast = partial(
            torch.autocast, device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=device.type != "cuda"
        )

    def __call__(self, step: int, real: Tensor, labels: Tensor, latents: Tensor) -> Tensor:
        """Train on real images (N, C, H, W), their labels (N,) and latents (N, L). Returns the four COUNTERS, on the device.

        N is :func:`~src.training.engine.images_per_step`: one batch for each of ``train.critic_steps``. Fakes have the labels
        of the real batch, so that class frequencies agree.
        """
        self.prepare(step)
        return self.update(real, labels, latents, self.kind(step))

    def prepare(self, step: int) -> None:
        """Set what changes between steps besides the batch: learning rates, weight of the average, growth."""
        self.rates.apply(step)
        self.average.prepare(step)
        for part in self._growing:
            part.grow(min(1.0, step / (self.steps * self.train.grow_until)))

    def kind(self, step: int) -> Kind:
        """The kind of the prepared step. Penalties are lazy: rarer and scaled up accordingly (Karras et al. 2020)."""
        penalises = has_gradient_penalty(self.train) and step % self.train.penalty_interval == 0
        return Kind(penalises, tuple(part.stage for part in self._growing))

    def update(self, real: Tensor, labels: Tensor, latents: Tensor, kind: Kind) -> Tensor:
        """The part of the step on the device, the same kernels for each step of a kind, so that a CUDA graph can capture it."""
        count = self.train.critic_steps
        batches = list(zip(*(some.chunk(count) for some in (real, labels, latents)), strict=True))
        counters = []
        for batch_number, (images, classes, codes) in enumerate(batches, start=1):
            # The fakes of the last batch also train the generator.
            with self._autocast(), torch.set_grad_enabled(batch_number == count):
                fake = self._generate(codes, classes)
            counters.append(self._train_discriminator(images, fake.detach(), classes, penalise=kind.penalises))
        with _frozen(self.discriminator):
            loss_g = self._train_generator(images, fake, classes)
        self.average.update()
        with torch.no_grad():
            loss_d, real_accuracy, fake_accuracy = torch.stack(counters).mean(dim=0)
            self.augment.adapt(real_accuracy, len(real) * self.draws.distributed.size)
            return torch.stack([loss_d, loss_g, real_accuracy, fake_accuracy])

    def _train_discriminator(self, real: Tensor, fake: Tensor, labels: Tensor, *, penalise: bool) -> Tensor:
        """Update the discriminator. Returns the loss and both accuracies (3,)."""
        train = self.train
        real, fake = self.augment(real), self.augment(fake.to(real.dtype))
        with self._autocast():
            logits, class_logits = self._discriminate(torch.cat([real, fake]), torch.cat([labels, labels]))
        real_logits, fake_logits = logits.float().chunk(2)
        loss = self.loss.discriminator(real_logits, fake_logits)
        total = loss
        if class_logits is not None:
            total = total + train.auxiliary_weight * F.cross_entropy(class_logits.float(), torch.cat([labels, labels]))
        if penalise:
            # Outside autocast, since they are gradients of gradients: float32, with TF32 products on a GPU.
            total = total + train.penalty_interval * self._penalties(real, fake, labels)
        if train.l1:
            total = total + train.l1 * l1_penalty(self.discriminator.parameters())
        self._minimise(total, self.optimizers[1])
        with torch.no_grad():
            boundary = self.loss.boundary
            above, below = (fake_logits, real_logits) if boundary is None else (boundary, boundary)
            right = [(real_logits > above).float().mean(), (fake_logits <= below).float().mean()]
            return torch.stack([loss.detach(), *right])

    def _penalties(self, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
        train, discriminator = self.train, self.discriminator
        total = torch.zeros((), device=real.device)
        if train.r1_weight:
            total = total + train.r1_weight * r1_penalty(discriminator, real, labels)
        if train.r2_weight:
            total = total + train.r2_weight * r1_penalty(discriminator, fake, labels)
        if train.gp_weight:
            between = self.draws.uniform(len(real), 1, 1, 1)
            total = total + train.gp_weight * gradient_penalty(discriminator, real, fake, labels, between)
        return total

    def _train_generator(self, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
        with self._autocast():
            logits, class_logits = self.discriminator(self.augment(fake), labels)
            real_logits = logits
            if self.loss.paired:
                with torch.no_grad():
                    real_logits, _ = self.discriminator(self.augment(real), labels)
        loss = self.loss.generator(real_logits.float(), logits.float())
        total = loss
        if class_logits is not None:
            total = total + self.train.auxiliary_weight * F.cross_entropy(class_logits.float(), labels)
        if self.train.l1:
            total = total + self.train.l1 * l1_penalty(self.generator.parameters())
        self._minimise(total, self.optimizers[0])
        return loss.detach()

    @staticmethod
    def _minimise(loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def named_networks(self) -> dict[str, nn.Module]:
        """Generator, discriminator and averaged generator by name."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average.network}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, learning rates and the probability of augmentation."""
        return {
            **{name: network.state_dict() for name, network in self.named_networks().items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rates": self.rates.state_dict(),
            "augment_probability": self.augment.probability,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`."""
        for name, network in self.named_networks().items():
            network.load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # the same tensor as before on a GPU
        self.rates.load_state_dict(state["rates"])
        self.augment.probability.copy_(state["augment_probability"])
