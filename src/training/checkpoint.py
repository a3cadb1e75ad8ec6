"""Checkpoints of a run that may be killed at any moment."""

import hashlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.files import replacing

KEPT = 2
DIGEST_SIZE = 64
SUFFIX = ".checkpoint"
ROLLBACK = ".rollback"
"""in the name of a checkpoint to which a diverged run returns"""


class Checkpoints:
    """The last two checkpoints of a run and its last rollback point, in a folder of their own.

    A file is a line with the SHA-256 of the rest, followed by the output of :func:`torch.save`. It is read with
    ``weights_only=True``, so that loading runs no code from it. It appears under its name only when it is complete and on disk.
    """

    def __init__(self, folder: Path, notes: Mapping[str, str] | None = None) -> None:
        """``notes`` are stored in each checkpoint: facts about the run that the training loop does not use."""
        self.folder, self.notes = folder, dict(notes or {})

    def save(self, state: Mapping[str, Any], *, rollback_point: bool = False) -> None:
        """Write a checkpoint and remove all others but the previous one and the last rollback point.

        Raises UserError when it cannot be written; the others are kept.
        """
        buffer = io.BytesIO()
        torch.save({**state, "notes": self.notes}, buffer)
        content = buffer.getbuffer()
        files = self._files()
        number = int(files[-1].name.partition(".")[0]) + 1 if files else 0
        path = self.folder / f"{number:08d}{ROLLBACK if rollback_point else ''}{SUFFIX}"
        with replacing(path) as part, part.open("wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.folder)
        for old in set(self._files()[:-KEPT]) - set(self._files(ROLLBACK)[-1:]):
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The newest intact checkpoint, or None; corrupt ones are named on standard error and removed."""
        for path in reversed(self._files()):
            state = _read(path)
            if state is not None:
                return state
            print(f"{path} is corrupt; falling back to the previous checkpoint", file=sys.stderr)
            path.unlink()
        return None

    def rollback_point(self) -> dict[str, Any] | None:
        """The last checkpoint saved as a rollback point, or the newest one where that is missing or corrupt."""
        points = self._files(ROLLBACK)
        state = _read(points[-1]) if points else None
        if state is None:
            print(f"{self.folder}: no intact rollback point; falling back to the newest checkpoint", file=sys.stderr)
            return self.load()
        return state

    def __bool__(self) -> bool:
        """Whether there is a checkpoint."""
        return bool(self._files())

    def _files(self, kind: str = "") -> list[Path]:
        return sorted(self.folder.glob(f"*{kind}{SUFFIX}"))


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
