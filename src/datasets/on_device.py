"""A split that lives on the device as uint8, and endless shuffled batches of it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from src.pixels import to_float


class OnDeviceImages:
    """Shuffled batches without end, indexed and normalised on the device, resumable to the bit.

    Every epoch is a fresh permutation, and a batch is never short: it takes what the epoch has left and goes on in the
    next one, so that every image is shown exactly once an epoch.

    ``images`` is uint8 (N, C, H, W), ``labels`` int64 (N,). ``generator`` is a CPU generator, drawn from once an epoch
    and by nobody else; its state is part of ``state_dict``.
    """

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device | str, generator: torch.Generator) -> None:
        """Copy the whole split to ``device``. Raises ValueError for other dtypes, shapes or no images at all."""
        if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64:
            raise ValueError(f"uint8 (N, C, H, W) images and int64 labels are due, not {images.dtype}, {labels.dtype}")
        if not 0 < len(images) == len(labels):
            raise ValueError(f"{len(images)} images with {len(labels)} labels")
        self._images = images.to(device)
        self._labels = labels.to(device)
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._position = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self._labels)

    def next_batch(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """The next ``batch_size`` images, float32 (B, C, H, W) in [-1, 1], and labels, int64 (B,), on the device."""
        indices = self._next_indices(batch_size)
        return to_float(self._images.index_select(0, indices)), self._labels.index_select(0, indices)

    def state_dict(self) -> dict[str, Tensor]:
        """All that the following batches depend on, as CPU tensors (so that safetensors can hold it)."""
        return {
            "order": self._order.cpu().clone(),
            "position": torch.tensor(self._position),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on exactly where ``state_dict`` was taken. Raises ValueError for the state of another number of images."""
        if len(state["order"]) not in (0, len(self)):
            raise ValueError(f"the state is of {len(state['order'])} images, not of {len(self)}")
        self._order = state["order"].to(self._labels.device)
        self._position = int(state["position"])
        self._generator.set_state(state["generator"].cpu())

    def _next_indices(self, count: int) -> Tensor:
        parts = []
        while count > 0:
            if self._position == len(self._order):
                # Drawn on the CPU, so that the same seed gives the same batches on every device.
                self._order = torch.randperm(len(self), generator=self._generator).to(self._labels.device)
                self._position = 0
            part = self._order[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            parts.append(part)
        return torch.cat(parts)
