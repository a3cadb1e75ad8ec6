"""The device context: which device this process computes on, and with which settings."""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .errors import UserError

if TYPE_CHECKING:
    from ..config.params import Train

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


@dataclass(frozen=True)
class DeviceContext:
    """Where and how this process computes."""

    device: torch.device
    threads: int = field(default_factory=torch.get_num_threads)
    """of PyTorch on the CPU"""
    bfloat16: bool = False
    """whether the networks' matrix products in training are autocast"""
    compile: str = "none"
    deterministic: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.device.type == "cuda"

    @property
    def graphs(self) -> bool:
        """Whether training steps are captured. Raises UserError for ``train.compile: graph`` without a GPU."""
        if self.compile == "graph" and not self.on_gpu:
            raise UserError("train.compile is graph, but CUDA graphs need a GPU; use auto or none")
        return self.compile != "none" and self.on_gpu

    @contextmanager
    def training_step(self) -> Iterator[None]:
        """Within it, what is left in float32 may use TF32 on a GPU; everything else, scores above all, is in full float32.

        With ``deterministic`` an operation that has no deterministic kernel is an error in a step, and a warning elsewhere.
        """
        if not self.on_gpu:
            yield
            return
        self._set(tf32=True)
        try:
            yield
        finally:
            self._set(tf32=False)

    def _set(self, *, tf32: bool) -> None:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        if self.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=not tf32)

    def set_up(self) -> None:
        """Prepare the process. On a CPU this changes no bit."""
        if not self.on_gpu:
            _keep_freed_memory()
            return
        torch.cuda.set_device(self.device)
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
        torch.backends.cudnn.benchmark = not self.deterministic
        self._set(tf32=False)

    def __str__(self) -> str:
        """For example ``cpu, 2 threads`` or ``cuda, NVIDIA H200``."""
        return f"cuda, {torch.cuda.get_device_name(self.device)}" if self.on_gpu else f"cpu, {self.threads} threads"


_current: DeviceContext | None = None


def resolve(train: "Train | None" = None, threads: int | None = None) -> DeviceContext:
    """The device context of this process, set up at the first call.

    Args:
        train: the section ``train`` of the parameters; None for a CPU, for commands that read no parameters.
        threads: of PyTorch on the CPU; None for as many as it has.

    Raises:
        UserError: as :func:`pick_device` does.
    """
    global _current  # noqa: PLW0603
    if threads is not None:
        torch.set_num_threads(threads)
    if train is None:
        found = DeviceContext(torch.device("cpu"))
    else:
        device = pick_device(train.device)
        bfloat16 = train.precision == "bfloat16" or (train.precision == "auto" and device.type == "cuda")
        found = DeviceContext(device, torch.get_num_threads(), bfloat16, train.compile, train.deterministic)
    if found != _current:
        found.set_up()
        _current = found
    return found


def _keep_freed_memory() -> None:
    """Tell glibc's malloc, if it is in use, not to return pages: a step asks for the same again, and page faults are slow."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES)):
            mallopt(option, value)


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
