"""The file in which a run's news waits for MLflow: lines that are only ever appended, and how many of them are delivered."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..core.errors import UserError
from ..core.files import replacing

Entry: TypeAlias = dict[str, Any]
"""One piece of news: its ``kind``, and what belongs to that kind."""


class Entries:
    """``entries.jsonl`` in a folder, and beside it ``sent``, the number of its lines that MLflow has.

    A line that has been appended survives the death of the process, at whatever moment, but not that of the machine: the
    step path does not wait for the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._sent_path = folder / "entries.jsonl", folder / "sent"
        self._descriptor: int | None = None
        self._size = self.count = self.sent = 0

    def read(self) -> list[str]:
        """All lines. What a dying process left of its last one is not among them, and the next line takes its place."""
        content = self._path.read_bytes() if self._path.exists() else b""
        self._size = content.rfind(b"\n") + 1
        lines = content[: self._size].decode(errors="replace").split("\n")[:-1]
        self.count = len(lines)
        try:
            self.sent = min(int(self._sent_path.read_text(encoding="utf-8")), self.count)
        except (OSError, ValueError):
            self.sent = 0  # all of it is delivered again, and none of it is doubled by that
        return lines

    def append(self, lines: Sequence[str]) -> None:
        """Append lines. Raises OSError when not all of them could be written; the same lines must then be tried again."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, self._size)
        content = "".join(f"{line}\n" for line in lines).encode()
        # At a fixed place: the part of a line that just fitted onto a full disk is overwritten at the next attempt.
        if os.pwrite(self._descriptor, content, self._size) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(content)
        self.count += len(lines)

    def mark_sent(self, sent: int) -> None:
        """Note that the first ``sent`` lines are delivered. On a full disk it is not noted, and they are delivered again."""
        self.sent = sent
        with contextlib.suppress(UserError), replacing(self._sent_path) as part:
            part.write_text(f"{min(sent, self.count)}\n", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def parse(line: str) -> Entry:
    """The entry of a line. One that a failing disk has made unreadable has the kind ``unreadable``."""
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and "kind" in entry:
            return entry
    return {"kind": "unreadable"}


def is_final(line: str) -> bool:
    """Whether a line ends its run for good."""
    return parse(line).get("final") is True


def now() -> int:
    """The time as MLflow counts it, in milliseconds."""
    return int(time.time() * 1000)
