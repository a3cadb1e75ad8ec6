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
        device = self._targets[0].device
        # On a GPU the weight is a tensor there, so that a captured step can be replayed with another one.
        self._on_gpu = torch.zeros((), device=device) if device.type == "cuda" else None
        self._weight = 0.0

    def prepare(self, step: int) -> None:
        """Set how far the next update goes; ``step`` counts from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        if self._on_gpu is not None and weight != self._weight:
            self._on_gpu.fill_(weight)
        self._weight = weight

    @torch.no_grad()
    def update(self) -> None:
        """Move every weight a little towards its source."""
        if self._on_gpu is None:
            torch._foreach_lerp_(self._targets, self._sources, self._weight)
            return
        moves = torch._foreach_sub(self._sources, self._targets)
        torch._foreach_mul_(moves, self._on_gpu)
        torch._foreach_add_(self._targets, moves)


def _floats(network: nn.Module) -> list[Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
