"""Which device the work runs on, and how."""

import ctypes
import os

import torch

from src.errors import UserError

M_TRIM_THRESHOLD, M_TOP_PAD = -1, -2
"""As in glibc's malloc.h."""
KEPT_BYTES, TOP_PAD_BYTES = 2**30, 2**26


def pick_device(name: str) -> torch.device:
    """``auto`` takes the GPU where there is one, the CPU otherwise. Raises UserError for ``cuda`` without a GPU.

    Under ``torchrun`` each process on a machine takes a GPU of its own.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("train.device is cuda, but PyTorch sees no CUDA GPU here; use auto or cpu")
    if name == "cpu" or not available:
        return torch.device("cpu")
    index = torch.distributed.get_node_local_rank(0) if torch.distributed.is_available() else 0
    if index >= torch.cuda.device_count():
        raise UserError(f"there are {torch.cuda.device_count()} GPUs here; start at most that many processes")
    return torch.device("cuda", index)


def set_up(device: torch.device, *, deterministic: bool) -> None:
    """Prepare the process for training, before the first kernel runs.

    On a GPU: TF32 for what is left in float32, and kernels that repeat their bits if asked. On a CPU: memory that was freed is
    kept, since a step asks for the same again, and fresh pages cost more than the arithmetic of small layers.
    """
    if device.type != "cuda":
        _keep_freed_memory()
        return
    torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    else:
        torch.backends.cudnn.benchmark = True


def _keep_freed_memory() -> None:
    """Tell glibc's malloc not to give pages back; elsewhere, nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES)):
            mallopt(option, value)


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """What ``train.precision`` means on this device."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def use_graphs(compile_: str, device: torch.device) -> bool:
    """What ``train.compile`` means on this device. Raises UserError for ``graph`` without a GPU."""
    if compile_ == "graph" and device.type != "cuda":
        raise UserError("train.compile is graph, but CUDA graphs need a GPU; use auto or none")
    return compile_ != "none" and device.type == "cuda"


def describe_device(device: torch.device) -> str:
    """The device in words, for example ``cpu, 2 threads`` or ``cuda, NVIDIA H200``."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"
