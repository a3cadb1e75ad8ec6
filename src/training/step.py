"""One step of adversarial training, in the order of the algorithm: discriminator, generator, average."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from src.networks.interface import Discriminator, Generator
from src.params import Train
from src.training.ema import AveragedGenerator
from src.training.losses import LOSSES
from src.training.optimizers import LearningRates, make_optimizer
from src.training.penalties import l1_penalty, r1_penalty
from src.training.world import World

COUNTERS = ("loss_discriminator", "loss_generator", "real_accuracy", "fake_accuracy")
"""What a step returns, in this order. The accuracies are the discriminator's."""


class AdversarialStep:
    """The two networks, their optimisers and the averaged generator, moved on by one batch a call.

    With several processes, each has a part of the batch, and the gradients are averaged over them.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        train: Train,
        steps: int,
        world: World | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.generator, self.discriminator, self.train = generator, discriminator, train
        world = world or World()
        self._generate, self._discriminate = world.parallel(generator), world.parallel(discriminator)
        self.loss = LOSSES[train.loss]
        self.average = AveragedGenerator(generator, train.ema_decay)
        self.optimizers: tuple[Optimizer, Optimizer] = (
            make_optimizer(generator, train, train.lr_generator),
            make_optimizer(discriminator, train, train.lr_discriminator),
        )
        base = train.lr_generator, train.lr_discriminator
        self.rates = LearningRates(self.optimizers, base, steps, train.lr_decay_from)
        device = next(generator.parameters()).device.type
        # A captured step must not keep casts of weights from one replay to the next.
        self._autocast = partial(
            torch.autocast, device, torch.bfloat16, enabled=bfloat16, cache_enabled=device != "cuda"
        )
        # The logit that parts real from fake: least squares pulls towards 1 and 0, the other losses towards + and -.
        self.boundary = 0.5 if train.loss == "least_squares" else 0.0

    def __call__(self, step: int, real: Tensor, labels: Tensor, latents: Tensor) -> Tensor:
        """Train on real images (N, C, H, W), their labels (N,) and latents (N, L). Returns the four COUNTERS, on the device.

        The fakes carry the labels of the real batch, so that both have the same class frequencies.
        """
        self.prepare(step)
        return self.update(real, labels, latents, regularise=self.regularises(step))

    def prepare(self, step: int) -> None:
        """Set what changes from step to step and is no tensor of the batch: learning rates and the average's weight."""
        self.rates.apply(step)
        self.average.prepare(step)

    def regularises(self, step: int) -> bool:
        """Whether the step takes the gradient penalty: seldom, and so much stronger (lazily, Karras et al. 2020)."""
        return self.train.r1_weight > 0 and step % self.train.r1_interval == 0

    def update(self, real: Tensor, labels: Tensor, latents: Tensor, *, regularise: bool) -> Tensor:
        """The step's work on the device alone, the same kernels each time: a CUDA graph can hold it."""
        with self._autocast():
            fake = self._generate(latents, labels)
        loss_d, real_logits, fake_logits = self._train_discriminator(real, fake.detach(), labels, regularise)
        loss_g = self._train_generator(fake, labels)
        self.average.update()
        with torch.no_grad():
            real_accuracy = (real_logits > self.boundary).float().mean()
            fake_accuracy = (fake_logits <= self.boundary).float().mean()
            return torch.stack([loss_d.detach(), loss_g.detach(), real_accuracy, fake_accuracy])

    def _train_discriminator(
        self, real: Tensor, fake: Tensor, labels: Tensor, regularise: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        discriminator, train = self.discriminator, self.train
        with self._autocast():
            logits = self._discriminate(torch.cat([real, fake.to(real.dtype)]), torch.cat([labels, labels]))
        real_logits, fake_logits = logits.float().chunk(2)
        loss = self.loss.discriminator(real_logits, fake_logits)
        total = loss
        if regularise:
            # In full precision: it is a gradient of a gradient.
            total = total + train.r1_weight * train.r1_interval * r1_penalty(discriminator, real, labels)
        if train.l1:
            total = total + train.l1 * l1_penalty(discriminator.parameters())
        self._minimise(total, self.optimizers[1])
        return loss, real_logits, fake_logits

    def _train_generator(self, fake: Tensor, labels: Tensor) -> Tensor:
        # The discriminator only passes the gradient on: none is built for its own weights.
        self.discriminator.requires_grad_(False)
        with self._autocast():
            logits = self.discriminator(fake, labels)
        loss = self.loss.generator(logits.float())
        total = loss + self.train.l1 * l1_penalty(self.generator.parameters()) if self.train.l1 else loss
        self._minimise(total, self.optimizers[0])
        self.discriminator.requires_grad_(True)
        return loss

    @staticmethod
    def _minimise(loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def named_networks(self) -> dict[str, nn.Module]:
        """Generator, discriminator and average by name."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average.network}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers and rates."""
        return {
            **{name: network.state_dict() for name, network in self.named_networks().items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rates": self.rates.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``state_dict`` was taken."""
        for name, network in self.named_networks().items():
            network.load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # on a GPU, the same tensor as before
        self.rates.load_state_dict(state["rates"])
