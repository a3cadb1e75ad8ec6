"""One step of adversarial training, in the order of the algorithm: discriminator, generator, average."""

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from src.networks.interface import Discriminator, Generator
from src.params import Train
from src.training.ema import AveragedGenerator
from src.training.losses import LOSSES
from src.training.optimizers import make_optimizer, make_schedule
from src.training.penalties import l1_penalty, r1_penalty

COUNTERS = ("loss_discriminator", "loss_generator", "real_accuracy", "fake_accuracy")
"""What :meth:`AdversarialStep.__call__` returns, in this order. The accuracies are the discriminator's."""


class AdversarialStep:
    """The two networks, their optimisers and the averaged generator, moved on by one batch a call."""

    def __init__(self, generator: Generator, discriminator: Discriminator, train: Train, steps: int) -> None:
        self.generator, self.discriminator, self.train = generator, discriminator, train
        self.loss = LOSSES[train.loss]
        self.average = AveragedGenerator(generator, train.ema_decay)
        self.optimizers: tuple[Optimizer, Optimizer] = (
            make_optimizer(generator, train, train.lr_generator),
            make_optimizer(discriminator, train, train.lr_discriminator),
        )
        self.schedules: tuple[LambdaLR, ...] = tuple(make_schedule(one, train, steps) for one in self.optimizers)
        # The logit that parts real from fake: least squares pulls towards 1 and 0, the other losses towards + and -.
        self.boundary = 0.5 if train.loss == "least_squares" else 0.0

    def __call__(self, step: int, real: Tensor, labels: Tensor, latents: Tensor) -> Tensor:
        """Train on real images (N, C, H, W), their labels (N,) and latents (N, L). Returns the four COUNTERS, on the device.

        The fakes carry the labels of the real batch, so that both have the same class frequencies.
        """
        fake = self.generator(latents, labels)
        loss_d, real_logits, fake_logits = self._train_discriminator(step, real, fake.detach(), labels)
        loss_g = self._train_generator(fake, labels)
        self.average.update(step)
        for schedule in self.schedules:
            schedule.step()
        with torch.no_grad():
            real_accuracy = (real_logits > self.boundary).float().mean()
            fake_accuracy = (fake_logits <= self.boundary).float().mean()
            return torch.stack([loss_d.detach(), loss_g.detach(), real_accuracy, fake_accuracy])

    def _train_discriminator(
        self, step: int, real: Tensor, fake: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        discriminator, train = self.discriminator, self.train
        logits = discriminator(torch.cat([real, fake]), torch.cat([labels, labels]))
        real_logits, fake_logits = logits.chunk(2)
        loss = self.loss.discriminator(real_logits, fake_logits)
        total = loss
        if train.r1_weight and step % train.r1_interval == 0:
            # Lazy regularisation (Karras et al. 2020): seldom, and so much stronger.
            total = total + train.r1_weight * train.r1_interval * r1_penalty(discriminator, real, labels)
        if train.l1:
            total = total + train.l1 * l1_penalty(discriminator.parameters())
        self._minimise(total, self.optimizers[1])
        return loss, real_logits, fake_logits

    def _train_generator(self, fake: Tensor, labels: Tensor) -> Tensor:
        # The discriminator only passes the gradient on: none is built for its own weights.
        self.discriminator.requires_grad_(False)
        loss = self.loss.generator(self.discriminator(fake, labels))
        total = loss + self.train.l1 * l1_penalty(self.generator.parameters()) if self.train.l1 else loss
        self._minimise(total, self.optimizers[0])
        self.discriminator.requires_grad_(True)
        return loss

    @staticmethod
    def _minimise(loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
