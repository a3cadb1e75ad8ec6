"""The machine: room on its disks, and the device that PyTorch computes on."""

import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import UserError, first_line
from .finding import Finding, Level

GPU = Path("/dev/nvidia0")
"""what the driver of a GPU makes, whether PyTorch can use it or not"""
GB = 10**9
FULL_GB, NARROW_GB = 2, 8
"""Below the first a training may not end; below the second the next dataset or installation may not fit."""


def check_disk(project: Path) -> Iterator[Finding]:
    """Free space where the project and the temporary files are."""
    for name, folder in {"the project": project, "temporary files": Path(tempfile.gettempdir())}.items():
        free = shutil.disk_usage(folder).free / GB
        level: Level = "problem" if free < FULL_GB else "warning" if free < NARROW_GB else "ok"
        advice = "" if level == "ok" else f"make room; {NARROW_GB} GB are enough"
        yield Finding(level, f"{free:,.1f} GB free for {name} ({folder})", advice)


def check_device() -> Iterator[Finding]:
    """What PyTorch computes on, whether it does, and whether ``train.device`` can be had."""
    import torch

    from ..config.params import load_params
    from ..core.device import DeviceContext, pick_device

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    with warnings.catch_warnings(record=True) as told:  # an old driver is told of as a warning
        warnings.simplefilter("always")
        device = pick_device("auto")
    about = f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, {built}: {DeviceContext(device)}"
    if device.type == "cpu" and (told or GPU.exists()):
        reason = f": {first_line(Warning(told[0].message))}" if told else ""
        advice = "update the GPU's driver, or install a PyTorch with CUDA"
        yield Finding("warning", f"{about}; the GPU of this machine is not used{reason}", advice)
    else:
        yield Finding("ok", about)
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as error:
        advice = "install a PyTorch that was built for this GPU, or set train.device to cpu"
        yield Finding("problem", f"the GPU cannot compute: {first_line(error)}", advice)
    wanted = load_params().train.device
    try:
        pick_device(wanted)
    except UserError as error:
        yield Finding("problem", str(error))
