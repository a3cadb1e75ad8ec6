"""The folder of one run, with everything needed to resume it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..core import paths
from ..core.errors import UserError
from ..core.files import write_json
from .checkpoint import Checkpoints

IDENTITY = "identity.json"
LOCK = ".lock"


class TrainingFolder:
    """``ROOT/KEY``, where KEY is a hash of the run's identity: everything its numbers depend on, by name.

    It holds ``identity.json``, ``run.json`` (the MLflow run), the checkpoints, and ``samples/`` with the sample images so
    far. It is locked by one process at a time; the lock is released when that process dies.
    """

    def __init__(self, root: Path, identity: Mapping[str, str], patience: float = 0) -> None:
        """Lock the folder. Raises UserError if another process holds the lock for longer than ``patience`` seconds."""
        self.root, self.identity = root, dict(identity)
        text = json.dumps(self.identity, sort_keys=True)
        self.path = root / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.samples = self.path / "samples"
        root.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path.with_suffix(LOCK))
        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            raise UserError(f"another process is training this run; {self.path} is locked") from None
        self.path.mkdir(exist_ok=True)
        write_json(self.identity, self.path / IDENTITY)

    @property
    def run_id(self) -> str | None:
        """The MLflow run, once it has been created."""
        return _read(self.path / paths.RUN_FILE).get("run_id")

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        write_json({"run_id": run_id}, self.path / paths.RUN_FILE)

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the run, with its id in their notes."""
        return Checkpoints(self.path, {"run_id": self.run_id or ""})

    def others(self) -> dict[Path, list[str]]:
        """Folders of other unfinished runs, newest first, each with the differences between its identity and this one."""
        folders = [path.parent for path in self.root.glob(f"*/{IDENTITY}") if path.parent != self.path]
        folders = sorted((one for one in folders if Checkpoints(one)), key=lambda one: -one.stat().st_mtime)
        return {folder: differences(_read(folder / IDENTITY), self.identity) for folder in folders}

    def clear(self) -> None:
        """Delete everything but the identity, so that the run starts over."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != IDENTITY:
                entry.unlink()

    def remove(self) -> None:
        """Delete the folder after the run has finished, and release the lock."""
        _delete(self.path)
        self.release()

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def sweep(root: Path, ended: Callable[[Mapping[str, str]], bool]) -> None:
    """Remove the folders below ``root`` whose identity is that of a run that has ended; locked folders are skipped."""
    for lock in root.glob(f"*{LOCK}"):
        folder = lock.with_suffix("")
        with suppress(Timeout), FileLock(lock, timeout=0):
            if not folder.is_dir() or ended(_read(folder / IDENTITY)):
                _delete(folder)


def _delete(folder: Path) -> None:
    """Delete a folder that the caller has locked, and its lock file; processes that wait for the lock notice."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(LOCK).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except (OSError, ValueError):
        return {}


def differences(other: Mapping[str, str], this: Mapping[str, str]) -> list[str]:
    """One line for each entry in which two identities differ."""
    return [
        f"{name} {other.get(name, 'missing')} there, {this.get(name, 'missing')} here"
        for name in sorted(other.keys() | this.keys())
        if other.get(name) != this.get(name)
    ]
