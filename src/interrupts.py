"""Signals that end or save a long piece of work, and a Ctrl-C that cannot get lost.

Python raises an exception for a signal wherever the main thread happens to be. In a finaliser, in a callback of the garbage
collector or below a bare ``except`` of some library it is swallowed, and a training would go on for hours. So a signal
is also noted, and the long loops ask for it. A signal handler belongs to the whole process, and so does the note.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
SAVE_ONLY = signal.SIGUSR1
"""Schedulers send it some time before the end: a checkpoint is due, and the work goes on."""

_noted: list[int] = []


class Stopped(KeyboardInterrupt):
    """Work that was ended by a signal, or for another reason that is no fault of its own."""

    def __init__(self, number: int, reason: str = "") -> None:
        self.number, self.reason = number, reason or describe(number)
        super().__init__(f"stopped by {self.reason}")


def describe(number: int) -> str:
    """The signal's name as people say it."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def install() -> None:
    """From now on SIGINT and SIGTERM raise Stopped, and are noted besides. Where one is ignored (``nohup``), it stays so."""
    for number in ENDING:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _note_and_raise)


def check() -> None:
    """Raise Stopped, once, if a signal that ends the work was noted: to be called in each round of a long loop."""
    if (number := take()) and number != SAVE_ONLY:
        raise Stopped(number)


def note(number: int) -> None:
    """As if the signal had come: work that asks for signals ends, or saves itself, at the next opportunity."""
    _noted.append(number)


def take() -> int | None:
    """The signal that came since the last call, if any; one that ends the work goes before one that only saves."""
    if not _noted:
        return None
    seen, _noted[:] = list(_noted), []
    return next((number for number in seen if number != SAVE_ONLY), seen[0])


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGUSR1 are only noted, for :func:`take`; a second Ctrl-C raises at once.

    Signals that were ignored stay ignored. In a thread other than the main one, where Python allows no handlers,
    nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (*ENDING, SAVE_ONLY)}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and number in _noted:
        raise Stopped(number)
    _noted.append(number)


def _note_and_raise(number: int, frame: FrameType | None) -> NoReturn:
    _noted.append(number)
    raise Stopped(number)
