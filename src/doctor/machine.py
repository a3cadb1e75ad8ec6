"""The machine and its software: disks, the device of PyTorch, packages, git, and usage data."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from ..core.errors import UserError, first_line
from .finding import Finding, Level, some

GPU = Path("/dev/nvidia0")
"""exists if the driver of a GPU is installed, whether PyTorch can use it or not"""
GB = 10**9
FULL_GB, NARROW_GB = 2, 8
"""below the first, training may fail; below the second, another dataset or installation may not fit"""
LOCK = Path("requirements.lock")
INSTALL = "`make install`"
TELEMETRY_OFF = ("1", "true", "yes", "on")


def check_disk() -> Iterator[Finding]:
    """Free space for the project and for temporary files."""
    from ..tracking.store import project_root

    for name, folder in {"the project": project_root(), "temporary files": Path(tempfile.gettempdir())}.items():
        free = shutil.disk_usage(folder).free / GB
        level: Level = "problem" if free < FULL_GB else "warning" if free < NARROW_GB else "ok"
        advice = "" if level == "ok" else f"free some space; {NARROW_GB} GB are enough"
        yield Finding(level, f"{free:,.1f} GB free for {name} ({folder})", advice)


def check_device() -> Iterator[Finding]:
    """The device of PyTorch, whether it can compute, and whether ``train.device`` is available."""
    import torch

    from ..config.params import load_params
    from ..core.device import DeviceContext, pick_device

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    with warnings.catch_warnings(record=True) as caught:  # of an old driver
        warnings.simplefilter("always")
        device = pick_device("auto")
    about = f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, {built}: {DeviceContext(device)}"
    if device.type == "cpu" and (caught or GPU.exists()):
        reason = f": {first_line(Warning(caught[0].message))}" if caught else ""
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


def check_packages(lock: Path = LOCK) -> Iterator[Finding]:
    """The installed packages, against the lines of requirements.lock that apply to this system."""
    if not lock.is_file():
        yield Finding("warning", f"{lock} is missing, so versions are not checked", f"`git checkout {lock}`")
        return
    lines = (line.partition(" \\")[0] for line in lock.read_text(encoding="utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line[:1] not in ("", " ", "#", "-")]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    missing, other = list[str](), list[str]()
    for pin in pins:
        try:
            installed = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            missing.append(f"{pin.name}{pin.specifier}")
            continue
        # A pin allows local versions, such as a PyTorch for another CUDA (2.14.1+cu130).
        if not pin.specifier.contains(installed, prereleases=True):
            other.append(f"{pin.name} {installed} (not {str(pin.specifier).removeprefix('==')})")
    if missing:
        yield Finding("problem", f"not installed, of {lock}: {some(missing)}", INSTALL)
    if other:
        yield Finding("warning", f"other versions than in {lock}: {some(other)}", INSTALL)
    if not missing and not other:
        yield Finding("ok", f"all {len(pins)} packages of {lock} are installed")


def check_git() -> Iterator[Finding]:
    """Whether runs can record their commit."""
    if shutil.which("git") is None:
        yield Finding("warning", "git is not installed: runs cannot record their code", "install git")
        return
    command = ["git", "describe", "--always", "--dirty=, with uncommitted changes"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False)
    if commit.returncode:
        reason = commit.stderr.strip().partition("\n")[0].removeprefix("fatal: ")
        yield Finding("warning", f"git: {reason}: runs cannot record their code", "`git init`, and commit")
    else:
        yield Finding("ok", f"git: at {commit.stdout.strip()}")


def check_telemetry(config: Path = Path(".dvc/config")) -> Iterator[Finding]:
    """Whether MLflow and DVC send usage data."""
    parser = ConfigParser(interpolation=None)
    parser.read(config, encoding="utf-8")
    dvc = parser.get("core", "analytics", fallback="true").lower() == "true" and not os.environ.get("DVC_NO_ANALYTICS")
    # The commands of this project turn MLflow's off, unless the environment says otherwise.
    named = os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"), os.environ.get("DO_NOT_TRACK", "")
    mlflow = not any(value.lower() in TELEMETRY_OFF for value in named)
    if dvc:
        yield Finding("warning", "DVC sends usage data", "`dvc config core.analytics false`")
    if mlflow:
        yield Finding("warning", "MLflow sends usage data", "`export MLFLOW_DISABLE_TELEMETRY=true`")
    if not dvc and not mlflow:
        yield Finding("ok", "DVC and MLflow send no usage data")
