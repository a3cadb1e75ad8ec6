"""Where a run comes from: code, data, tools and machine."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

LIBRARIES = ("torch", "torchvision", "torch-fidelity", "numpy", "scikit-learn", "mlflow", "dvc", "optuna")
NOT_SOURCE = (":(exclude)dvc.lock",)
"""DVC writes dvc.lock while the pipeline runs; its hashes are recorded on their own."""


def code_tags() -> dict[str, str]:
    """Git commit, whether the tree differs from it, the DVC experiment, and the versions of Python and the libraries."""
    commit = _git("rev-parse", "HEAD")
    tags = {
        "git.commit": commit or "none",
        "git.dirty": str(bool(working_tree_diff())).lower() if commit else "unknown",
    }
    if commit:
        tags["mlflow.source.git.commit"] = commit
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        if os.environ.get(name):
            tags[name.lower().replace("_", ".")] = os.environ[name]
    tags["version.python"] = platform.python_version()
    for library in LIBRARIES:
        try:
            tags[f"version.{library}"] = metadata.version(library)
        except metadata.PackageNotFoundError:
            tags[f"version.{library}"] = "not installed"
    return tags


def working_tree_diff() -> str:
    """What differs from the commit, new files that git does not ignore included; empty for a clean tree or without git."""
    changes = _git("diff", "HEAD", "--", ".", *NOT_SOURCE)
    new_files = _git("ls-files", "--others", "--exclude-standard", "--", ".", *NOT_SOURCE)
    parts = [changes] if changes else []
    for name in new_files.splitlines():
        parts.append(_git("diff", "--no-index", "--", os.devnull, name) or f"new file, not readable as text: {name}")
    return "\n".join(parts)


def lock_tags(lock: Path = Path("dvc.lock")) -> dict[str, str]:
    """The hash of dvc.lock, and DVC's hashes of data and networks in it as ``dvc.out.PATH``; empty without the file."""
    if not lock.is_file():
        return {}
    text = lock.read_bytes()
    document: dict[str, Any] = YAML(typ="safe").load(text.decode()) or {}
    tags = {"dvc.lock.sha256": hashlib.sha256(text).hexdigest()}
    for stage in document.get("stages", {}).values():
        outs = {out["path"]: str(out.get("md5", "")) for out in stage.get("outs", [])}
        # The other outputs follow from these, and the file itself is an artifact of the run.
        tags |= {f"dvc.out.{path}": md5 for path, md5 in outs.items() if path.endswith(("/raw", ".safetensors"))}
    return tags


def file_md5(path: Path) -> str:
    """A file's MD5, which is also DVC's hash of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    # ``git diff --no-index`` says with status 1 that the files differ
    return result.stdout.strip() if result.returncode in (0, 1) else ""
