"""The device context: the device and settings with which a process computes."""

import ctypes
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import UserError

if TYPE_CHECKING:
    from ..config.params import Train

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""as in malloc.h of glibc"""
KEPT_BYTES, TOP_PAD_BYTES, MAPPED_BYTES = 2**30, 2**26, 2**25
MIB = 2**20
CPU_BATCH, GPU_BATCH = 100, 1000
"""Images in a batch outside training. 100 fit in a CPU's cache: four times as fast as 500. A GPU needs more to be busy."""


def pick_device(name: str) -> torch.device:
    """The GPU, if there is one, for ``auto``, else the CPU. Raises UserError for ``cuda`` without a GPU.

    Under ``torchrun``, each process on a machine gets a different GPU.
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
    """The device and settings of this process, from the section ``train`` of the parameters."""

    device: torch.device
    train: "Train | None" = None
    threads: int = field(default_factory=torch.get_num_threads)
    """of PyTorch on the CPU"""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.device.type == "cuda"

    @property
    def bfloat16(self) -> bool:
        """Whether matrix products of networks in training are autocast."""
        precision = self.train.precision if self.train else "float32"
        return precision == "bfloat16" or (precision == "auto" and self.on_gpu)

    @property
    def graphs(self) -> bool:
        """Whether training steps are captured. Raises UserError for ``train.compile: graph`` without a GPU."""
        compile_ = self.train.compile if self.train else "none"
        if compile_ == "graph" and not self.on_gpu:
            raise UserError("train.compile is graph, but CUDA graphs need a GPU; use auto or none")
        return compile_ != "none" and self.on_gpu

    @contextmanager
    def training_step(self) -> Iterator[None]:
        """Within it, float32 operations may use TF32 on a GPU; everything else, scores above all, is in full float32.

        With ``train.deterministic``, an operation without a deterministic kernel is an error within it, and a warning outside.
        """
        self._set(tf32=True)
        try:
            yield
        finally:
            self._set(tf32=False)

    def _set(self, *, tf32: bool) -> None:
        if self.on_gpu:
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = tf32
            if self.train and self.train.deterministic:
                torch.use_deterministic_algorithms(True, warn_only=not tf32)

    def set_up(self) -> None:
        """Prepare the process. No bit changes on a CPU."""
        if not self.on_gpu:
            _keep_freed_memory()
            return
        torch.cuda.set_device(self.device)
        deterministic = self.train is not None and self.train.deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
        torch.backends.cudnn.benchmark = not deterministic
        self._set(tf32=False)

    def __str__(self) -> str:
        """For example ``cpu, 2 threads`` or ``cuda, NVIDIA H200``."""
        return f"cuda, {torch.cuda.get_device_name(self.device)}" if self.on_gpu else f"cpu, {self.threads} threads"


def resolve(train: "Train | None" = None, threads: int | None = None) -> DeviceContext:
    """Set up this process and return its device context; repeated calls give the same one.

    Without ``train`` it is that of a CPU, for commands that read no parameters. ``threads`` are those of PyTorch on the CPU;
    None keeps their number. Raises UserError as :func:`pick_device` does.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    context = DeviceContext(pick_device(train.device if train else "cpu"), train)
    context.set_up()
    return context


def batch_size(device: torch.device) -> int:
    """The number of images in each batch outside training; one for a kind of device, so that no image depends on its batch."""
    return GPU_BATCH if device.type == "cuda" else CPU_BATCH


def on_cpu(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Tensors of one dtype on the CPU. Those on a GPU are copied together, so that it is waited for once."""
    tensors = list(tensors)
    away = [one for one in tensors if one.device.type != "cpu"]
    if not away:
        return tensors
    parts = torch.cat([one.flatten() for one in away]).cpu().split([one.numel() for one in away])
    copied = iter([part.view(one.shape) for part, one in zip(parts, away, strict=True)])
    return [one if one.device.type == "cpu" else next(copied) for one in tensors]


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it, float32 operations are in full float32, whatever the process allows; the settings are restored after it.

    Scores and images that are compared must not depend on the process that computes them, and PyTorch by default allows TF32
    in convolutions. Distances suffer most: ``torch.cdist`` subtracts large products. No bit changes on a CPU.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def _keep_freed_memory() -> None:
    """Tell glibc's malloc, if it is in use, not to return pages: a step asks for the same again, and page faults are slow.

    Blocks of 32 MiB or more are still mapped, and so returned; every version accepts that threshold. It must be set, since
    setting any other option stops malloc from raising it from 128 KiB by itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in (
            (M_TRIM_THRESHOLD, KEPT_BYTES),
            (M_TOP_PAD, TOP_PAD_BYTES),
            (M_MMAP_THRESHOLD, MAPPED_BYTES),
        ):
            mallopt(option, value)


def pin_gpu(index: int) -> None:
    """Restrict this process to one of the visible GPUs, in turn by index; to be called before any other use of CUDA."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible or [str(number) for number in range(torch.cuda.device_count())]
    if names:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[index % len(names)]


def forget_peak_memory(device: torch.device) -> None:
    """Reset :func:`peak_memory`, where supported (GPUs, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory(device: torch.device) -> float:
    """Peak memory in MiB: allocated by PyTorch on a GPU, otherwise resident in the process."""
    return torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else peak_resident()


def peak_resident() -> float:
    """Peak resident memory of this process in MiB.

    Linux inherits ``ru_maxrss`` from the parent process, so VmHWM takes precedence.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
