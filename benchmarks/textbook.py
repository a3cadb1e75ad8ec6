"""A GAN's training loop as beginners' guides write it: the yardstick for the project's own.

It is not slow on purpose. Images come one by one through Pillow and torchvision's transforms into a DataLoader, the generator
runs once for each network's turn, the discriminator runs on real and fake images apart, its gradients are built in the
generator's turn too, and the losses are read in each step. There is no averaged generator and no gradient penalty.
"""

from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from src.config.params import Params
from src.core.device import resolve
from src.core.errors import UserError
from src.networks.description import build_pair
from src.training.step.losses import find_loss


class TextbookImages(Dataset[tuple[Tensor, int]]):
    """Like ``torchvision.datasets.FashionMNIST``: a Pillow image from the array, then the transform."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        """uint8 images (N, C, H, W), C being 1 or 3, and int64 labels (N,)."""
        channels = images.shape[1]
        self.data = images.squeeze(1) if channels == 1 else images.permute(0, 2, 3, 1)
        self.targets = labels
        half = (0.5,) * channels
        self.transform: Any = transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])

    def __len__(self) -> int:
        """The number of images."""
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A float image (C, H, W) in [-1, 1] and its label."""
        image, label = self.data[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy())), label


class TextbookTraining:
    """The project's networks with fresh weights, the loss and Adam of the parameters, in float32 at constant rates."""

    def __init__(self, params: Params, images: Tensor, labels: Tensor, class_count: int, workers: int = 0) -> None:
        """uint8 images (N, C, H, W) and int64 labels (N,) on the CPU. Raises UserError for a batch of more than N."""
        train = params.train
        if train.batch_size > len(images):
            raise UserError(f"train.batch_size {train.batch_size}: there are only {len(images)} images")
        torch.manual_seed(train.seed)
        self.device = resolve(train).device
        self.loader = DataLoader(
            TextbookImages(images, labels), train.batch_size, shuffle=True, num_workers=workers, drop_last=True
        )
        shape = {"class_count": class_count, "channels": images.shape[1], "image_size": images.shape[2]}
        networks = build_pair(params.model.family, **params.model.model_dump(exclude={"family"}), **shape)
        self.generator, self.discriminator = networks[0].to(self.device), networks[1].to(self.device)
        betas = (train.beta1, train.beta2)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=train.lr_generator, betas=betas)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=train.lr_discriminator, betas=betas)
        self.criterion = find_loss(train.loss)
        self.latent_size, self.class_count = params.model.latent_size, class_count

    def steps(self) -> Iterator[tuple[float, float]]:
        """Train without end, a step for each pair of losses: the discriminator's and the generator's."""
        while True:
            for images, labels in self.loader:
                yield self._step(images.to(self.device), labels.to(self.device))

    def _step(self, real: Tensor, labels: Tensor) -> tuple[float, float]:
        generator, discriminator, count = self.generator, self.discriminator, len(real)

        self.optimizer_d.zero_grad()
        fake_labels = torch.randint(0, self.class_count, (count,), device=self.device)
        fake = generator(torch.randn(count, self.latent_size, device=self.device), fake_labels)
        real_logits, _ = discriminator(real, labels)
        fake_logits, _ = discriminator(fake.detach(), fake_labels)
        loss_d = self.criterion.discriminator(real_logits, fake_logits)
        loss_d.backward()
        self.optimizer_d.step()

        self.optimizer_g.zero_grad()
        fake_labels = torch.randint(0, self.class_count, (count,), device=self.device)
        fake = generator(torch.randn(count, self.latent_size, device=self.device), fake_labels)
        fake_logits, _ = discriminator(fake, fake_labels)
        loss_g = self.criterion.generator(real_logits.detach(), fake_logits)
        loss_g.backward()
        self.optimizer_g.step()

        return loss_d.item(), loss_g.item()
