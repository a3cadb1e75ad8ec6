"""Checkpoints of a training that may be killed at any moment."""

import hashlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from src.files import replacing

KEPT = 2
DIGEST_SIZE = 64


class Checkpoints:
    """The last two checkpoints of a training, newest last, in a folder of its own.

    A file is a line with the SHA-256 of what follows, and what follows is :func:`torch.save`'s; it is read with
    ``weights_only=True``, so that loading runs no code from it. It appears under its name only when it is whole and on disk.
    """

    def __init__(self, folder: Path, notes: Mapping[str, str] | None = None) -> None:
        """``notes`` are kept in each checkpoint: what belongs to the training and is nothing of the loop's."""
        self.folder, self.notes = folder, dict(notes or {})

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint and remove all but the last two. Raises UserError when it cannot be written; the others stay."""
        buffer = io.BytesIO()
        torch.save({**state, "notes": self.notes}, buffer)
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

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.checkpoint"))


def _sync_folder(folder: Path) -> None:
    """A new name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
