"""Checkpoints of a training that may be killed at any moment, and the folder that belongs to exactly one training."""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from src.errors import UserError
from src.files import replacing

KEPT = 2
IDENTITY = "identity.json"
DIGEST_SIZE = 64


class Checkpoints:
    """The last two checkpoints of a training, newest last, in a folder of its own.

    A file is a line with the SHA-256 of what follows, and what follows is :func:`torch.save`'s; it is read with
    ``weights_only=True``, so that loading runs no code from it. It appears under its name only when it is whole and on disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint and remove all but the last two. Raises UserError when it cannot be written; the others stay."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getbuffer()
        files = self._files()
        number = int(files[-1].stem) + 1 if files else 0
        with replacing(self.folder / f"{number:08d}.checkpoint") as part, part.open("wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.folder)
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None; torn ones are named on standard error and removed."""
        for path in reversed(self._files()):
            digest, _, content = path.read_bytes().partition(b"\n")
            if len(digest) == DIGEST_SIZE and hashlib.sha256(content).hexdigest().encode() == digest:
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                return state
            print(f"{path} is torn: the checkpoint before it is taken", file=sys.stderr)
            path.unlink()
        return None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._files())

    def clear(self) -> None:
        """Remove all checkpoints."""
        for path in self._files():
            path.unlink()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.checkpoint"))


def _sync_folder(folder: Path) -> None:
    """A new name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class TrainingFolder:
    """Where a training keeps what it needs to go on: ``ROOT/KEY``, KEY being a hash of the training's identity.

    Only one process at a time may hold it. Besides the checkpoints it has ``identity.json`` and whatever the train stage
    wants to find again.
    """

    def __init__(self, root: Path, identity: Mapping[str, str]) -> None:
        """Take the folder. Raises UserError when another process has it."""
        self.root, self.identity = root, dict(identity)
        text = json.dumps(self.identity, sort_keys=True)
        self.path = root / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"another process is doing this training already; {self.path} belongs to it") from None
        self.checkpoints = Checkpoints(self.path)
        if not (self.path / IDENTITY).exists():
            with replacing(self.path / IDENTITY) as part:
                part.write_text(json.dumps(self.identity, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def others(self) -> dict[Path, list[str]]:
        """Folders of other unfinished trainings, newest first, and how each one's identity differs from this one's."""
        folders = [path.parent for path in self.root.glob(f"*/{IDENTITY}") if path.parent != self.path]
        folders = sorted((one for one in folders if Checkpoints(one)), key=lambda one: -one.stat().st_mtime)
        return {folder: differences(_read_identity(folder), self.identity) for folder in folders}

    def clear(self) -> None:
        """Forget everything but the identity: the training begins afresh."""
        for entry in self.path.iterdir():
            if entry.name != IDENTITY:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def remove(self) -> None:
        """The training is done: nothing is kept."""
        shutil.rmtree(self.path)
        self.release()

    def release(self) -> None:
        """Let another process take the folder."""
        self._lock.release()


def _read_identity(folder: Path) -> dict[str, str]:
    try:
        identity: dict[str, str] = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        return identity
    except (OSError, ValueError):
        return {}


def differences(other: Mapping[str, str], this: Mapping[str, str]) -> list[str]:
    """A line for each entry in which two identities differ."""
    return [
        f"{name}: {other.get(name, 'nothing')} there, {this.get(name, 'nothing')} here"
        for name in sorted(other.keys() | this.keys())
        if other.get(name) != this.get(name)
    ]


def code_hashes(folders: Iterable[Path], root: Path) -> dict[str, str]:
    """The start of each Python file's SHA-256, by its path below ``root``."""
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files}
