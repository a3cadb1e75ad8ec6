"""The judge: a small convolutional classifier that scores images and is never trained together with a GAN."""

import inspect
from typing import Any

from torch import Tensor, nn

from .interface import Classifier

CLASSIFIER = "conv classifier"
"""name of the architecture"""


class ConvClassifier(Classifier):
    """See :class:`Classifier`."""

    def __init__(
        self, *, class_count: int, channels: int, image_size: int, width: int, feature_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.class_count, self.feature_size = class_count, feature_size
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (image_size // 4) ** 2, feature_size, bias=False),
            nn.BatchNorm1d(feature_size),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(feature_size, class_count)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the base class."""
        features = self.layers(images)
        return features, self.head(self.dropout(features))


def build_classifier(**options: Any) -> Classifier:
    """The judge with fresh weights; options that it does not take are ignored."""
    chosen = {name: options[name] for name in inspect.signature(ConvClassifier).parameters}
    network = ConvClassifier(**chosen)
    network.description = {"architecture": CLASSIFIER, "options": chosen}
    return network
