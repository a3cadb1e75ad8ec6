"""Where a run comes from: code, data, tools and machine."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from src.errors import UserError, require_file
from src.files import write_json

LIBRARIES = ("torch", "torchvision", "torch-fidelity", "numpy", "scikit-learn", "mlflow", "dvc", "optuna")
NOT_SOURCE = (":(exclude)dvc.lock",)
"""DVC writes dvc.lock while the pipeline runs; its hashes are recorded on their own."""


REQUIREMENTS = Path("requirements.lock")
LINEAGE = (
    "git.",
    "dvc.",
    "version.",
    "requirements.",
    "data.hash",
    "classifier.hash",
    "device",
    "cpu",
    "threads",
    "seed",
)
RESTORED_FROM = "restored.from.run"
"""tag of a run that takes the place of one which the store lost: the id of that one"""
SHOWN = (
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-renames",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
LARGEST_NEW_FILE, MOST_NEW_FILES = 2**23, 100
TOO_LARGE = "not kept, too large or too many: "


def code_tags(diff: bytes | None = None) -> dict[str, str]:
    """What made a run: commit and what differs from it, DVC experiment, requirements, versions, processor and threads."""
    commit = git("rev-parse", "HEAD").decode().strip()
    diff = working_tree_diff() if diff is None else diff
    tags = {"git.commit": commit or "none", "git.dirty": str(bool(diff)).lower() if commit else "unknown"}
    if commit:
        tags["mlflow.source.git.commit"] = commit
    if diff:
        tags["git.diff.sha256"] = hashlib.sha256(diff).hexdigest()
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        if os.environ.get(name):
            tags[name.lower().replace("_", ".")] = os.environ[name]
    if REQUIREMENTS.is_file():
        tags["requirements.sha256"] = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    tags |= {"cpu": cpu_kind(), "threads": str(torch.get_num_threads()), "version.python": platform.python_version()}
    for library in LIBRARIES:
        try:
            tags[f"version.{library}"] = metadata.version(library)
        except metadata.PackageNotFoundError:
            tags[f"version.{library}"] = "not installed"
    return tags


def experiment_name() -> str | None:
    """The name of the DVC experiment that this process is part of."""
    return os.environ.get("DVC_EXP_NAME") or None


@dataclass(frozen=True)
class Origin:
    """Where a training comes from. It is kept among the training's outputs, so that its run can be told anew from them."""

    name: str
    """of the run"""
    params: dict[str, Any]
    tags: dict[str, str]
    diff: bytes
    """what differed from the commit"""

    @classmethod
    def here(cls, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> "Origin":
        """That of a training that begins here and now; ``tags`` are what is known besides the code."""
        diff = working_tree_diff()
        return cls(name, dict(params), {**code_tags(diff), **tags}, diff)

    def instead_of(self, run_id: str) -> "Origin":
        """The same for a run that takes the place of one which the store lost, and says so."""
        return replace(self, tags={**self.tags, RESTORED_FROM: run_id})

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json({**asdict(self), "diff": self.diff.decode(errors="surrogateescape")}, path)

    @classmethod
    def load(cls, path: Path) -> "Origin":
        """Read it. Raises UserError for a missing or corrupt file."""
        try:
            content = json.loads(require_file(path, "train").read_text(encoding="utf-8"))
            return cls(**{**content, "diff": content["diff"].encode(errors="surrogateescape")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is corrupt ({error!r}); make it again with `dvc repro --force train`") from None


def commit_of(origin: "Origin") -> str | None:
    """The present commit, where the tree is clean and it is the code that a training was made by.

    That is what becomes of an experiment that is committed after it has run.
    """
    before = origin.tags.get("git.commit", "")
    head = git("rev-parse", "HEAD").decode().strip()
    if not head or working_tree_diff() or not git("cat-file", "-t", before):
        return None
    if before == head and not origin.diff:
        return head
    return (
        head if _patches(git("diff", *SHOWN, before, head, "--", ".", *NOT_SOURCE)) == _patches(origin.diff) else None
    )


def _patches(diff: bytes) -> set[bytes]:
    """The changes to each file: what was a new file before is at another place in the difference of two commits."""
    return set(re.split(rb"^(?=diff --git )", diff, flags=re.MULTILINE)) - {b""}


def kept(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's tags that tell where it comes from, for the version that is registered from it."""
    return {name: value for name, value in tags.items() if name.startswith(LINEAGE) and name != "dvc.stage"}


def cpu_kind() -> str:
    """The processor's name and the instructions that PyTorch uses of it: sums are rounded in another order on another kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def working_tree_diff() -> bytes:
    """What differs from the commit, as a patch for ``git apply``; new files that git does not ignore are in it.

    Empty for a clean tree or without git. New files that are too large to keep, or too many, are named at its top.
    """
    parts = [git("diff", *SHOWN, "HEAD", "--", ".", *NOT_SOURCE)]
    for raw in filter(
        None, git("ls-files", "-z", "--others", "--exclude-standard", "--", ".", *NOT_SOURCE).split(b"\0")
    ):
        name = os.fsdecode(raw)
        size = Path(name).lstat().st_size
        if size > LARGEST_NEW_FILE or len(parts) > MOST_NEW_FILES:
            parts.insert(0, f"{TOO_LARGE}{name} ({size:,} bytes)\n".encode(errors="replace"))
        else:
            parts.append(git("diff", *SHOWN, "--no-index", "--", os.devnull, name))
    return b"".join(parts)


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


def git(*arguments: str, folder: Path | None = None) -> bytes:
    """What git prints; nothing where there is no git, no repository, or the command fails."""
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:
        return b""
    # ``git diff --no-index`` says with status 1 that the files differ
    return result.stdout if result.returncode in (0, 1) else b""
