"""Which process has a run, in a tag, so that another process can tell whether it still lives."""

import json
import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

TAG = "process"
"""of a run: the process that has opened it last"""


@dataclass(frozen=True)
class Process:
    """A process. Its number alone says little: numbers are used again, and a container has its own."""

    host: str
    machine: str
    """the installation's own id; empty where there is none, as in many containers"""
    boot: str
    """which start of the machine it was"""
    numbering: str
    """which processes are numbered together"""
    number: int
    start: str
    """when it started, as the system counts it"""

    @classmethod
    def current(cls) -> Self:
        """This one."""
        return cls(*_place(), os.getpid(), started(os.getpid()))

    @classmethod
    def of(cls, tag: str | None) -> Self | None:
        """The process that a tag names; None where there is no tag, or one that cannot be read."""
        with suppress(ValueError, TypeError):
            return cls(**json.loads(tag or ""))
        return None

    @property
    def tag(self) -> str:
        """The process as a tag."""
        return json.dumps(asdict(self))

    def is_gone(self) -> bool | None:
        """Whether it has ended; None where this cannot be told from here: another host, or another container."""
        host, machine, boot, numbering = _place()
        if (self.host, self.machine) != (host, machine):
            return None
        if self.boot != boot:
            return True if machine else None  # the machine was started anew; without an id it may be another one
        if self.numbering != numbering:
            return None
        return started(self.number) != self.start


@cache
def _place() -> tuple[str, str, str, str]:
    """Host, machine, boot and numbering of this process; what a system does not tell is empty."""
    numbering = ""
    with suppress(OSError):
        numbering = str(Path("/proc/self/ns/pid").readlink())
    return platform.node(), _read("/etc/machine-id"), _read("/proc/sys/kernel/random/boot_id"), numbering


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def started(number: int) -> str:
    """When the process with this number started; empty where there is none, or only what a dead one left to its parent."""
    if Path("/proc/self/stat").exists():
        state, *fields = _read(f"/proc/{number}/stat").rpartition(")")[2].split() or ["Z"]
        return "" if state in "ZX" else fields[18]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(number)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
