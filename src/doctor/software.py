"""The software: packages, git, and that nothing sends usage data."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from .finding import Finding, some

LOCK = Path("requirements.lock")
INSTALL = "make install"
OFF = ("1", "true", "yes", "on")


def check_packages(lock: Path = LOCK) -> Iterator[Finding]:
    """The installed packages against requirements.lock, as far as its lines are for this system."""
    if not lock.is_file():
        yield Finding(
            "warning", f"{lock} is missing: nothing says which versions belong here", f"`git checkout {lock}`"
        )
        return
    wanted = _pinned(lock.read_text(encoding="utf-8"))
    missing, other = list[str](), list[str]()
    for requirement in wanted:
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append(f"{requirement.name}{requirement.specifier}")
            continue
        # An exact pin takes a local version, such as that of a PyTorch for another CUDA (2.14.1+cu130).
        if not requirement.specifier.contains(installed, prereleases=True):
            other.append(f"{requirement.name} {installed} (not {str(requirement.specifier).removeprefix('==')})")
    if missing:
        yield Finding("problem", f"not installed, of {lock}: {some(missing)}", f"`{INSTALL}`")
    if other:
        yield Finding("warning", f"other versions than in {lock}: {some(other)}", f"`{INSTALL}`")
    if not missing and not other:
        yield Finding("ok", f"all {len(wanted)} packages of {lock} are here, Python {platform.python_version()}")


def _pinned(text: str) -> list[Requirement]:
    """The requirements of a lock file that apply to this system; hashes and comments are left out."""
    lines = (line.partition(" \\")[0] for line in text.splitlines() if line[:1] not in ("", " ", "#", "-"))
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if one.marker is None or one.marker.evaluate()]


def check_git() -> Iterator[Finding]:
    """Whether git is there, and the tree like its commit."""
    if shutil.which("git") is None:
        yield Finding(
            "warning", "git is not installed: runs do not know their code, and DVC no experiments", "install git"
        )
        return
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=False)
    if status.returncode:
        advice = "`git init`, and commit; then every run knows its code"
        yield Finding("warning", f"no git repository here: {status.stderr.strip().partition(chr(10))[0]}", advice)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        yield Finding("warning", "git has no commit yet: runs do not know their code", "`git commit`")
        return
    count = len(status.stdout.splitlines())
    differs = (
        f", {count} {'file differs' if count == 1 else 'files differ'} from it" if count else ", the tree is clean"
    )
    yield Finding("ok", f"git: at {commit.stdout.strip()}{differs}")


def check_telemetry(config: Path = Path(".dvc/config")) -> Iterator[Finding]:
    """Whether MLflow and DVC keep what they know to themselves."""
    parser = ConfigParser(interpolation=None)
    parser.read(config, encoding="utf-8")
    dvc = parser.get("core", "analytics", fallback="true").lower() == "true" and not os.environ.get("DVC_NO_ANALYTICS")
    # The commands of this project turn MLflow's off, unless the environment says something else.
    named = os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"), os.environ.get("DO_NOT_TRACK", "")
    mlflow = not any(value.lower() in OFF for value in named)
    if dvc:
        yield Finding("warning", "DVC sends usage data", "`dvc config core.analytics false`")
    if mlflow:
        yield Finding("warning", "MLflow sends usage data", "`export MLFLOW_DISABLE_TELEMETRY=true`")
    if not dvc and not mlflow:
        yield Finding("ok", "DVC and MLflow send no usage data")
