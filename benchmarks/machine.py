"""What the machine can do, and how much of it a training takes."""

import json
import platform
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from src.config.params import Params
from src.core.device import DeviceContext
from src.training.engine import Engine

MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
"""What the profiler calls work on a GPU."""


def synchronize(device: torch.device) -> None:
    """Wait until the device has done its work: to be called before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_machine(device: torch.device) -> str:
    """Processor, device with threads, and PyTorch's version in one line."""
    return f"{_processor()}; {DeviceContext(device)}; PyTorch {torch.__version__}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int | None = None, repeats: int = 3) -> float:
    """Floating-point operations a second of square matrix products, the best of several."""
    size = size or MATMUL_SIZE[device.type]
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    result = torch.mm(first, second)  # the first call also chooses a kernel
    times = []
    for _ in range(repeats):
        synchronize(device)
        began = time.perf_counter()
        torch.mm(first, second, out=result)
        synchronize(device)
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def gpu_busy(params: Params, images: Tensor, labels: Tensor, steps: int = 200) -> float:
    """The share of time in which the GPU works, over some steps of the project's loop."""
    engine = Engine(params, images, labels, 10)
    # Both kinds of step are captured after a few runs of each.
    for _ in range(5 * params.train.penalty_interval + 10):
        engine.advance()
    synchronize(engine.device)
    # Profiling the CPU too would slow the GPU down.
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            engine.advance()
        synchronize(engine.device)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    spans = [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") in ON_GPU]
    return covered_share(spans)


def covered_share(spans: Iterable[tuple[float, float]]) -> float:
    """The share of the time from the first begin to the last end that lies in a span at least; spans may overlap."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    first, until = ordered[0][0], ordered[0][0]
    covered = 0.0
    for begin, end in ordered:
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered / (until - first) if until > first else 0.0
