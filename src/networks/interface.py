"""What the rest of the project may expect of a network."""

from typing import Any

from torch import nn


class Network(nn.Module):
    """A network that can be described in JSON and built again from it."""

    description: dict[str, Any]
    """``{"architecture": name, "options": {...}}``, set by :func:`src.networks.description.build`"""


class Generator(Network):
    """Latents float (N, latent_size) and labels int64 (N,) to images (N, C, H, W) in [-1, 1].

    Labels may also be float (N, class_count), the weights of the classes: between two classes lie images of both.
    """

    latent_size: int
    class_count: int
    conditional: bool
    """whether it looks at the label"""


class Discriminator(Network):
    """Images (N, C, H, W) in [-1, 1] and labels int64 (N,) to logits (N,); their sigmoid is the probability of real."""


class Classifier(Network):
    """Images (N, C, H, W) in [-1, 1] to features (N, feature_size) and class logits (N, class_count)."""
