"""The origin of a run: code, data, packages and machine."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import stages

if TYPE_CHECKING:
    from ..config.params import Params

LIBRARIES = ("torch", "torchvision", "torch-fidelity", "numpy", "scikit-learn", "mlflow", "dvc", "optuna")
NOT_SOURCE = (":(exclude)dvc.lock",)
"""DVC writes dvc.lock while the pipeline runs; its hashes are recorded separately."""

LINEAGE = (
    "git.",
    "code.",
    "machine",
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
"""tag of a run that replaces one that the store no longer has: the id of the original"""
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


def code_tags(family: str | None = None, *, complete: bool = False) -> dict[str, str]:
    """The code of a run: the commit, whether code that affects results differs from it, DVC experiment, requirements.

    ``git.dirty`` and ``code.sha256`` cover :func:`src.config.stages.training_code` and the code of a user-defined
    ``family``; with ``complete``, all code of the stage register. Parameters are recorded separately, as params.
    """
    commit = git("rev-parse", "HEAD").decode().strip()
    places = _family_places(family)
    files = stages.code("register", complete=True) if complete else stages.training_code(places)
    tags = {"git.commit": commit or "none", "git.dirty": _is_dirty(files) if commit else "unknown"}
    if commit:
        tags["mlflow.source.git.commit"] = commit
    tags["code.sha256"] = stages.training_code_hash(places)
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        if os.environ.get(name):
            tags[name.lower().replace("_", ".")] = os.environ[name]
    if stages.REQUIREMENTS.is_file():
        tags["requirements.sha256"] = hashlib.sha256(stages.REQUIREMENTS.read_bytes()).hexdigest()
    return tags


def machine_tags() -> dict[str, str]:
    """The machine of a run: processor, threads, and the versions of Python and of packages."""
    import torch

    tags = {"cpu": cpu_kind(), "threads": str(torch.get_num_threads()), "version.python": platform.python_version()}
    return tags | {f"version.{library}": stages.installed_version(library) for library in LIBRARIES}


def _family_places(family: str | None) -> list[Path]:
    if family is None:
        return []
    from ..networks.family import family_code

    return family_code(family)


def _is_dirty(files: Iterable[str]) -> str:
    """``true`` if a file that affects results differs from the commit or is untracked, otherwise ``false``."""
    decisive = [*files, stages.PACKAGES.as_posix()]
    return str(bool(git("status", "--porcelain", "--untracked-files=all", "--", *decisive))).lower()


def experiment_name() -> str | None:
    """The name of the DVC experiment that this process is part of."""
    return os.environ.get("DVC_EXP_NAME") or None


def run_name(params: "Params") -> str:
    """The name of a run: that of its DVC experiment, or family, conditioning and loss."""
    return experiment_name() or f"{params.model.family}-{params.model.conditioning}-{params.train.loss}"


@dataclass(frozen=True)
class Origin:
    """The origin of a run."""

    name: str
    """of the run"""
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    diff: bytes
    """the difference from the commit"""

    @classmethod
    def here(
        cls, name: str, params: Mapping[str, Any], tags: Mapping[str, str], *, trained_here: bool = True
    ) -> "Origin":
        """The origin of a run that starts now; ``tags`` are added to those of code and machine.

        ``trained_here=False``: the outputs were trained elsewhere, or by a run that the store no longer has, so that the
        machine is unknown.
        """
        diff = working_tree_diff()
        patch = {"git.diff.sha256": hashlib.sha256(diff).hexdigest()} if diff else {}
        machine = machine_tags() if trained_here else {"machine": "unknown"}
        return cls(name, dict(params), {**code_tags(params.get("model.family")), **patch, **machine, **tags}, diff)

    def instead_of(self, run_id: str) -> "Origin":
        """The same origin, for a run that replaces ``run_id``, which the store no longer has."""
        return replace(self, tags={**self.tags, RESTORED_FROM: run_id})


def recorded_params(params: Mapping[str, str]) -> dict[str, Any]:
    """Parse the recorded params of a run: values by dotted name, without parameters that no longer exist."""
    from ..config.params import Params

    values = {}
    for name, default in Params().flat().items():
        if name in params:
            text = params[name]
            plain = isinstance(default, str) or (default is None and text != "null")
            values[name] = text if plain else json.loads(text)
    return values


def committed_since(tags: Mapping[str, str], family: str | None) -> str | None:
    """The current commit, if it has exactly the code of a run with these ``tags`` that was uncommitted at the time.

    This is the case if the code of an experiment is committed after the run.
    """
    now = code_tags(family)
    return now["git.commit"] if now["git.dirty"] == "false" and now["code.sha256"] == tags.get("code.sha256") else None


def kept(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run that describe its origin, for versions registered from it."""
    return {name: value for name, value in tags.items() if name.startswith(LINEAGE) and name != "dvc.stage"}


def cpu_kind() -> str:
    """The processor's name and the instruction set used by PyTorch, which affects rounding."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    import torch

    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def working_tree_diff() -> bytes:
    """The difference from the commit as a patch for ``git apply``, with new files that git does not ignore.

    Empty for a clean tree or without git. New files beyond the limits on size and number are listed at the top.
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
    from ruamel.yaml import YAML

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
    """The output of git; empty without git or a repository, or if the command fails."""
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:
        return b""
    # ``git diff --no-index`` says with status 1 that the files differ
    return result.stdout if result.returncode in (0, 1) else b""
