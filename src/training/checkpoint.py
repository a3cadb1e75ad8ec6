"""Checkpoints of a training that may be killed at any moment."""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.files import replacing

KEPT = 2
DIGEST_SIZE = 64
ROLLBACK = "rollback.state"
"""a second name of the checkpoint that a divergence returns to"""


class Checkpoints:
    """The last two checkpoints of a training, newest last, and its last rollback point, in a folder of their own.

    A file is a line with the SHA-256 of what follows, and what follows is :func:`torch.save`'s; it is read with
    ``weights_only=True``, so that loading runs no code from it. It appears under its name only when it is whole and on disk.
    """

    def __init__(self, folder: Path, notes: Mapping[str, str] | None = None) -> None:
        """``notes`` are kept in each checkpoint: what belongs to the training and is nothing of the loop's."""
        self.folder, self.notes = folder, dict(notes or {})

    def save(self, state: Mapping[str, Any], *, rollback_point: bool = False) -> None:
        """Write a checkpoint and remove all but the last two and the last rollback point, which this one may become.

        Raises UserError when it cannot be written; the others stay.
        """
        buffer = io.BytesIO()
        torch.save({**state, "notes": self.notes, "rollback_point": rollback_point}, buffer)
        content = buffer.getbuffer()
        files = self._files()
        number = int(files[-1].stem) + 1 if files else 0
        path = self.folder / f"{number:08d}.checkpoint"
        with replacing(path) as part, part.open("wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if rollback_point:
            self._name_rollback_point(path)
        _sync_folder(self.folder)
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None; corrupt ones are named on standard error and removed."""
        for path in reversed(self._files()):
            state = _read(path)
            if state is not None:
                if state["rollback_point"]:  # the process may have died before it had given it the second name
                    self._name_rollback_point(path)
                return state
            print(f"{path} is corrupt; falling back to the previous checkpoint", file=sys.stderr)
            path.unlink()
        return None

    def rollback_point(self) -> dict[str, Any] | None:
        """The last checkpoint that was saved as a rollback point, or the newest one where that is missing or corrupt."""
        path = self.folder / ROLLBACK
        state = _read(path) if path.is_file() else None
        if state is None:
            print(f"{path} is missing or corrupt; falling back to the newest checkpoint", file=sys.stderr)
            return self.load()
        return state

    def _name_rollback_point(self, path: Path) -> None:
        with replacing(self.folder / ROLLBACK) as part:
            part.unlink(missing_ok=True)
            try:
                os.link(path, part)
            except OSError:  # a file system without hard links
                shutil.copyfile(path, part)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._files())

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.checkpoint"))


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a checkpoint, or None for a corrupt one."""
    digest, _, content = path.read_bytes().partition(b"\n")
    if len(digest) != DIGEST_SIZE or hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _sync_folder(folder: Path) -> None:
    """A new name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
