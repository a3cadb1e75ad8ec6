"""Signals that end or checkpoint a long computation, and a Ctrl-C that cannot be lost.

Python raises an exception for a signal wherever the main thread happens to be. In a finaliser, in a callback of the garbage
collector or below a bare ``except`` in a library it is swallowed, and a run would continue for hours. Therefore a signal is
also recorded: long loops poll for it, and until it is taken, a swallowed exception is raised again, and one that would be
swallowed is raised a moment later. Signal handlers belong to the whole process, and so does this state.
"""

import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
SAVE_ONLY = signal.SIGUSR1
"""Sent by schedulers some time before the end: save a checkpoint and continue."""
REMINDER = signal.SIGALRM
"""of a timer, which raises a signal's exception again"""
REMIND_SECONDS = 0.01

_noted: list[int] = []
_owed: int | None = None
"""the signal that is still to be raised, for the first time or again, unless it is taken first"""
_flying: "weakref.ref[Stopped] | None" = None
"""the exception raised for it, while it exists: clean-up must not be interrupted"""


class Stopped(KeyboardInterrupt):
    """A computation was ended by a signal, or for another reason outside it."""

    def __init__(self, number: int, reason: str = "") -> None:
        self.number, self.reason = number, reason or describe(number)
        super().__init__(f"stopped by {self.reason}")


def describe(number: int) -> str:
    """The common name of a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def install() -> None:
    """Make SIGINT and SIGTERM raise Stopped and record them. Signals that are ignored (``nohup``) stay ignored."""
    for number in ENDING:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _note_and_raise)
    if signal.getsignal(REMINDER) == signal.SIG_DFL:
        signal.signal(REMINDER, _raise_owed)
        sys.unraisablehook = _quiet(sys.unraisablehook)


def check() -> None:
    """Raise Stopped, once, if a signal that ends the computation was recorded. Call it in each iteration of a long loop."""
    if (number := take()) and number != SAVE_ONLY:
        raise Stopped(number)


def check_swallowed() -> None:
    """Raise Stopped if a signal's exception was swallowed or not raised yet: the computation would appear to be complete."""
    if (number := _owed) is not None:
        take()
        raise Stopped(number)


def note(number: int) -> None:
    """Record a signal as if it had been received."""
    _noted.append(number)


def take() -> int | None:
    """The signal received since the last call, if any; one that ends takes precedence over one that only saves.

    It is not raised any more.
    """
    global _owed  # noqa: PLW0603
    _owed = None
    if signal.getsignal(REMINDER) is _raise_owed:
        signal.setitimer(signal.ITIMER_REAL, 0)  # at exit, when Python has restored the default action, it would kill
    if not _noted:
        return None
    seen, _noted[:] = list(_noted), []
    return next((number for number in seen if number != SAVE_ONLY), seen[0])


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGUSR1 are only recorded, for :func:`take`; a second Ctrl-C raises at once.

    An exception that is still to be raised is deferred as well. Ignored signals stay ignored. Outside the main thread, where
    Python allows no signal handlers, nothing changes.
    """
    global _owed  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (*ENDING, SAVE_ONLY)}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, _note)
    waiting, _owed = _owed, None
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        owed = waiting if _owed is None else _owed
        # Where signals do not raise Stopped, the caller's own handler decides.
        raises = owed is not None and owed in _noted and signal.getsignal(owed) is _note_and_raise
        _owed = owed if raises else None
        if raises and _flying is None:
            _remind()


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and number in _noted:
        _raise(number, frame)
    else:
        _noted.append(number)


def _note_and_raise(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
    _raise(number, frame)


def _raise_owed(number: int, frame: FrameType | None) -> None:
    if _owed is not None and _flying is None:
        _raise(_owed, frame)


def _raise(number: int, frame: FrameType | None) -> None:
    """Raise Stopped now or, where Python would swallow it, a moment later."""
    global _owed, _flying  # noqa: PLW0603
    _owed = number
    if _swallows(frame):
        _remind()
        return
    stopped = Stopped(number)
    _flying = weakref.ref(stopped, _landed)
    try:
        raise stopped
    finally:
        del stopped  # or its traceback would keep it alive


def _landed(gone: "weakref.ref[Stopped]") -> None:
    """The exception is gone: it was either handled, and so taken, or swallowed."""
    global _flying  # noqa: PLW0603
    if _flying is gone:
        _flying = None
        if _owed is not None:
            _remind()


def _swallows(frame: FrameType | None) -> bool:
    """Whether the frame or one of its callers is a finaliser or a callback of the garbage collector."""
    callbacks = [_code(callback) for callback in gc.callbacks]
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


def _code(callback: Callable[..., object]) -> CodeType | None:
    """The code of a function, a method or a callable object."""
    function = getattr(callback, "__func__", callback)
    found: CodeType | None = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return found


def _remind() -> None:
    """Have the owed signal raised in a moment, where :func:`install` has been called."""
    if signal.getsignal(REMINDER) is _raise_owed:
        signal.setitimer(signal.ITIMER_REAL, REMIND_SECONDS)


def _quiet(hook: Callable[["sys.UnraisableHookArgs"], object]) -> Callable[["sys.UnraisableHookArgs"], object]:
    """The hook without a message for an exception that will be raised again."""

    def quiet(unraisable: "sys.UnraisableHookArgs") -> None:
        if _owed is None or not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)

    return quiet
