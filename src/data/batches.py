"""Endless shuffled batches of a split: from device memory, or streamed to the device if it does not fit."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

ON_DEVICE_SHARE = 0.5
"""Images are stored on a GPU if they take at most this share of its free memory."""

_Gathered = tuple[Tensor, Tensor, "torch.cuda.Event | None"]


def open_batches(
    images: Tensor,
    labels: Tensor,
    device: torch.device,
    seed: int,
    part: Callable[[Tensor], Tensor] = lambda indices: indices,
) -> "Batches":
    """Batches of uint8 images (N, C, H, W) and int64 labels (N,); the same batches whether streamed or not.

    ``part`` selects this process's share of a batch's indices. Raises ValueError for other dtypes or shapes, or no images.
    """
    if device.type == "cuda" and images.device != device:
        free, _ = torch.cuda.mem_get_info(device)
        if images.nbytes > ON_DEVICE_SHARE * free:
            return StreamedBatches(images, labels, device, seed, part)
    return Batches(images, labels, device, seed, part)


class Order:
    """The endless order of a split: each epoch is a new permutation, in which every image occurs exactly once.

    Batches are never short: one at the end of an epoch is filled from the next. The order is drawn on the CPU, so that a
    seed gives the same batches on every device, and kept on ``device``.
    """

    def __init__(self, count: int, seed: int, device: torch.device) -> None:
        self.count, self.device = count, device
        self._generator = torch.Generator().manual_seed(seed)
        self._epoch = torch.empty(0, dtype=torch.int64, device=device)
        self._position = 0

    def next(self, count: int) -> Tensor:
        """The next ``count`` indices, int64, on the device."""
        parts = []
        while count > 0:
            if self._position == len(self._epoch):
                self._epoch = torch.randperm(self.count, generator=self._generator).to(self.device)
                self._position = 0
            part = self._epoch[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def state_dict(self) -> dict[str, Any]:
        """The epoch's order, the position in it, and the generator's state, on the CPU."""
        return {"order": self._epoch.cpu(), "position": self._position, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume exactly there. Raises ValueError for the state of another number of images."""
        if len(state["order"]) not in (0, self.count):
            raise ValueError(f"the state is of {len(state['order'])} images, not of {self.count}")
        self._epoch, self._position = state["order"].to(self.device), int(state["position"])
        self._generator.set_state(state["generator"])


class Batches:
    """Shuffled batches without end, resumable to the bit. The split is stored on the device as uint8 and indexed there."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        device: torch.device,
        seed: int,
        part: Callable[[Tensor], Tensor] = lambda indices: indices,
    ) -> None:
        """See :func:`open_batches`. The split and its order are kept on ``device``."""
        if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64:
            raise ValueError(f"expected uint8 (N, C, H, W) images and int64 labels, not {images.dtype}, {labels.dtype}")
        if not 0 < len(images) == len(labels):
            raise ValueError(f"{len(images)} images with {len(labels)} labels")
        self._images, self._labels, self._part = images.to(device), labels.to(device), part
        self._order = Order(len(labels), seed, device)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._labels)

    def next_batch(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """The next images, uint8 (B, C, H, W), and their labels, int64 (B,), on the device."""
        return self._take(self._part(self._order.next(batch_size)))

    def state_dict(self) -> dict[str, Any]:
        """All that the following batches depend on."""
        return self._order.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume where ``state_dict`` was taken. Raises ValueError for the state of another number of images."""
        self._order.load_state_dict(state)

    def _take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self._images.index_select(0, indices), self._labels.index_select(0, indices)


class StreamedBatches(Batches):
    """The split stays in host memory (or in a memory-mapped file); a thread prefetches batches.

    Batches are pinned, and copied to a GPU on a separate stream while it computes on the previous one.
    """

    AHEAD = 3

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device, *order: Any) -> None:
        super().__init__(images, labels, torch.device("cpu"), *order)
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._gatherer = ThreadPoolExecutor(1, "batches")
        # Prefetched batches, each with the state of the order before it, which is the state after the batches returned so far.
        self._ahead: deque[tuple[dict[str, Any], int, Future[_Gathered]]] = deque()

    def next_batch(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """See :class:`Batches`."""
        if self._ahead and self._ahead[0][1] != batch_size:
            self.load_state_dict(self.state_dict())
        while len(self._ahead) <= self.AHEAD:
            before = self._order.state_dict()
            indices = self._part(self._order.next(batch_size))
            self._ahead.append((before, batch_size, self._gatherer.submit(self._gather, indices)))
        images, labels, arrived = self._ahead.popleft()[2].result()
        if arrived is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(arrived)
            for tensor in (images, labels):
                tensor.record_stream(current)
        return images, labels

    def state_dict(self) -> dict[str, Any]:
        """See :class:`Batches`."""
        return self._ahead[0][0] if self._ahead else super().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`Batches`."""
        self._ahead.clear()
        super().load_state_dict(state)

    def _gather(self, indices: Tensor) -> _Gathered:
        images, labels = self._take(indices)
        if self._stream is None:
            return images, labels, None
        with torch.cuda.stream(self._stream):
            images, labels = (one.pin_memory().to(self._device, non_blocking=True) for one in (images, labels))
            return images, labels, self._stream.record_event()
