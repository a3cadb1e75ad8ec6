"""The averaged generator: an exponential moving average of the weights (Yazici et al. 2019)."""

import copy

import torch
from torch import Tensor, nn

from src.networks.interface import Generator


class AveragedGenerator:
    """Holds ``.network``, whose floating-point weights and buffers follow those of the trained one.

    The decay grows with the step as ``min(decay, (1 + step) / (10 + step))``, so that the random start is forgotten soon.
    """

    def __init__(self, source: Generator, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        self._targets, self._sources = _floats(self.network), _floats(source)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move every weight a little towards its source; ``step`` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._targets, self._sources, 1 - decay)


def _floats(network: nn.Module) -> list[Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
