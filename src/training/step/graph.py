"""A training step as a CUDA graph, which launches hundreds of kernels in one call."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.errors import UserError, first_line

WARM_UP = 3
"""Uncaptured steps of each kind that PyTorch requires before capture; they are ordinary steps."""


class GraphedStep:
    """Runs ``function(images, labels, kind)`` as one CUDA graph per kind.

    The function must run the same kernels for each call of a kind, must not synchronise, and writes its results into tensors
    of its own. ``generators`` are the random generators that it uses besides the default one.

    Warm-up and capture use one side stream, and all graphs one memory pool: PyTorch shares memory neither between streams nor
    between pools. No graph reads what another one leaves in the pool, so they may be replayed in any order.
    """

    def __init__(self, function: Callable[[Tensor, Tensor, Any], None], generators: Sequence[torch.Generator]) -> None:
        self.function, self.generators = function, generators
        self._stream = torch.cuda.Stream()
        self.reset()

    def reset(self) -> None:
        """Discard the graphs; to be called after tensors that the function uses have been replaced."""
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, images: Tensor, labels: Tensor, kind: Hashable) -> None:
        """Run the function on inputs that have the same shapes each time.

        Raises UserError if it cannot be captured, and torch.OutOfMemoryError. Neither can be recovered from: random generators
        and the memory pool remain in the state of an unfinished capture, so a fallback within the process would be wrong.
        """
        calls = self._calls[kind] = self._calls.get(kind, 0) + 1
        if calls <= WARM_UP:
            self._run_apart(images, labels, kind)
            return
        if self._inputs is None:
            self._inputs = images.clone(), labels.clone()
        self._inputs[0].copy_(images)
        self._inputs[1].copy_(labels)
        if kind not in self._graphs:
            self._graphs[kind] = self._capture(self._inputs, kind)
        self._graphs[kind].replay()

    def _run_apart(self, images: Tensor, labels: Tensor, kind: Hashable) -> None:
        """Run on the side stream, as warm-up requires."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self.function(images, labels, kind)
        current.wait_stream(self._stream)

    def _capture(self, inputs: tuple[Tensor, Tensor], kind: Hashable) -> torch.cuda.CUDAGraph:
        """Capture the kernels without running them."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        try:
            # The other modes fail when another thread allocates memory, as the one that streams batches does.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                self.function(*inputs, kind)
        except RuntimeError as error:
            cause = _first(error)
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            raise UserError(
                f"the training step cannot be captured as a CUDA graph ({first_line(cause)}); set train.compile to none"
            ) from error
        return graph


def _first(error: Exception) -> Exception:
    """The error that invalidated a capture; ending the capture then raises another one."""
    while isinstance(error.__context__, Exception):
        error = error.__context__
    return error
