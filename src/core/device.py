"""Which device the work runs on, and how."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from .errors import UserError

M_TRIM_THRESHOLD, M_TOP_PAD = -1, -2
"""As in glibc's malloc.h."""
KEPT_BYTES, TOP_PAD_BYTES = 2**30, 2**26
MIB = 2**20


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


def pin_gpu(index: int) -> None:
    """Let this process see one of the visible GPUs only, in turn by index; to be called before any other use of CUDA."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible or [str(number) for number in range(torch.cuda.device_count())]
    if names:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[index % len(names)]


def forget_peak_memory(device: torch.device) -> None:
    """Measure :func:`peak_memory` from here on, where the system can (a GPU, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory(device: torch.device) -> float:
    """The most memory so far in MiB: on a GPU what PyTorch has allocated there, otherwise what the process had resident."""
    return torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else peak_resident()


def peak_resident() -> float:
    """The peak resident memory of this process in MiB.

    Linux hands ``ru_maxrss`` on from the process that started this one, however large that was, so VmHWM goes first.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
