"""A training step as a CUDA graph: hundreds of kernels, launched by one call."""

import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from src.errors import first_line

WARM_UP = 3
"""Steps of each kind that run one kernel at a time first, as PyTorch asks for; they count like any other."""


class Replayed:
    """Calls ``function(images, labels, flag)`` by a CUDA graph for each value of the flag.

    The function must do the same work on the device each time, and may wait for nothing. It writes its results into tensors
    of its own. ``generators`` are those it draws from, besides the default one.
    """

    def __init__(self, function: Callable[[Tensor, Tensor, bool], None], generators: Sequence[torch.Generator]) -> None:
        self.function, self.generators = function, generators
        self.reset()

    def reset(self) -> None:
        """Forget the graphs: to be called when tensors that the function uses were replaced."""
        self._calls: dict[bool, int] = {}
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._failed = False

    def __call__(self, images: Tensor, labels: Tensor, flag: bool) -> None:
        """Run the function on these inputs, which have the same shapes each time."""
        calls = self._calls[flag] = self._calls.get(flag, 0) + 1
        if self._failed or calls <= WARM_UP:
            self._run_apart(images, labels, flag)
            return
        if self._inputs is None:
            self._inputs = images.clone(), labels.clone()
        self._inputs[0].copy_(images)
        self._inputs[1].copy_(labels)
        if flag not in self._graphs and not self._capture(self._inputs, flag):
            self._run_apart(images, labels, flag)
            return
        self._graphs[flag].replay()

    def _run_apart(self, images: Tensor, labels: Tensor, flag: bool) -> None:
        """On a side stream, as warm-up must be: what a stream has used stays bound to it."""
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self.function(images, labels, flag)
        current.wait_stream(side)

    def _capture(self, inputs: tuple[Tensor, Tensor], flag: bool) -> bool:
        """Record the function's kernels; nothing runs. False, once with a message, when the device cannot."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                self.function(*inputs, flag)
        except RuntimeError as error:
            print(
                f"the training step cannot be captured as a CUDA graph ({first_line(error)}); it runs uncaptured",
                file=sys.stderr,
            )
            self._failed = True
            return False
        self._graphs[flag] = graph
        return True
