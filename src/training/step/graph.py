"""A training step as a CUDA graph, which launches hundreds of kernels in one call."""

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.errors import first_line

WARM_UP = 3
"""Uncaptured steps of each kind that PyTorch requires before capture; they are ordinary steps."""


class GraphedStep:
    """Runs ``function(images, labels, kind)`` as one CUDA graph per kind.

    The function must run the same kernels for each call of a kind, must not synchronise, and writes its results into tensors
    of its own. ``generators`` are the random generators that it uses besides the default one.
    """

    def __init__(self, function: Callable[[Tensor, Tensor, Any], None], generators: Sequence[torch.Generator]) -> None:
        self.function, self.generators = function, generators
        self.reset()

    def reset(self) -> None:
        """Discard the graphs; to be called after tensors that the function uses have been replaced."""
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._failed = False

    def __call__(self, images: Tensor, labels: Tensor, kind: Hashable) -> None:
        """Run the function on inputs that have the same shapes each time."""
        calls = self._calls[kind] = self._calls.get(kind, 0) + 1
        if self._failed or calls <= WARM_UP:
            self._run_apart(images, labels, kind)
            return
        if self._inputs is None:
            self._inputs = images.clone(), labels.clone()
        self._inputs[0].copy_(images)
        self._inputs[1].copy_(labels)
        if kind not in self._graphs and not self._capture(self._inputs, kind):
            self._run_apart(images, labels, kind)
            return
        self._graphs[kind].replay()

    def _run_apart(self, images: Tensor, labels: Tensor, kind: Hashable) -> None:
        """Run on a side stream, as warm-up requires: memory remains bound to the stream that used it."""
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self.function(images, labels, kind)
        current.wait_stream(side)

    def _capture(self, inputs: tuple[Tensor, Tensor], kind: Hashable) -> bool:
        """Capture the kernels without running them. Returns False, with a message, if capture fails."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                self.function(*inputs, kind)
        except RuntimeError as error:
            print(
                f"the training step cannot be captured as a CUDA graph ({first_line(error)}); it runs uncaptured",
                file=sys.stderr,
            )
            self._failed = True
            return False
        self._graphs[kind] = graph
        return True
