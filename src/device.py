"""Which device the work runs on."""

import torch

from src.errors import UserError


def pick_device(name: str) -> torch.device:
    """``auto`` takes the GPU where there is one, the CPU otherwise. Raises UserError for ``cuda`` without a GPU."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("train.device is cuda, but PyTorch sees no CUDA GPU here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def describe_device(device: torch.device) -> str:
    """The device in words, for example ``cpu, 2 threads`` or ``cuda, NVIDIA H200``."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"
