import os
import subprocess
import sys
from dataclasses import replace

import pytest

from src.tracking import processes
from src.tracking.processes import Process, started


def test_this_process_lives_and_is_read_back() -> None:
    here = Process.current()
    assert here.is_gone() is False
    assert Process.of(here.tag) == here
    assert (here.number, here.start) == (os.getpid(), started(os.getpid()))


@pytest.mark.parametrize("tag", [None, "", "1234", "{}", '{"host": "a"}', "[1]"])
def test_a_tag_that_is_none(tag: str | None) -> None:
    assert Process.of(tag) is None


def test_a_dead_process_is_gone_even_if_nobody_has_asked_how_it_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = replace(Process.current(), number=child.pid, start=started(child.pid))
    assert process.start
    assert process.is_gone() is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_gone() is True  # a zombie
    child.communicate()
    assert process.is_gone() is True


def test_a_number_that_was_used_again() -> None:
    assert replace(Process.current(), start="1").is_gone() is True


def test_what_cannot_be_told_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_place", lambda: ("host", "id", "boot 2", "pid:[1]"))
    here = Process.current()
    dead = replace(here, number=2**22 + 1)
    assert dead.is_gone() is True
    assert replace(dead, host="other").is_gone() is None
    assert replace(dead, machine="other").is_gone() is None
    assert replace(dead, numbering="pid:[2]").is_gone() is None
    assert replace(dead, boot="boot 1", numbering="pid:[2]").is_gone() is True
    monkeypatch.setattr(processes, "_place", lambda: ("host", "", "boot 2", "pid:[1]"))
    assert replace(dead, machine="", boot="boot 1").is_gone() is None  # two containers may have one name
