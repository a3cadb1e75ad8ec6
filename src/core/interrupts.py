"""Signals that end or save a long piece of work, and a Ctrl-C that cannot get lost.

Python raises an exception for a signal wherever the main thread happens to be. In a finaliser, in a callback of the garbage
collector or below a bare ``except`` of some library it is swallowed, and a training would go on for hours. So a signal
is also noted: the long loops ask for it, and until somebody has taken it, what was swallowed is raised again, and what would
be swallowed is raised a moment later. A signal handler belongs to the whole process, and so does the note.
"""

import _thread
import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
SAVE_ONLY = signal.SIGUSR1
"""Schedulers send it some time before the end: a checkpoint is due, and the work goes on."""
REMINDER = signal.SIGURG
"""The process sends it to its own main thread. Nobody else has a use for it, and where it is not handled nothing happens."""
REMIND_SECONDS = 0.01

_noted: list[int] = []
_owed: int | None = None
"""the signal that is to be raised, again or for the first time, unless it is taken before"""
_flying: "weakref.ref[Stopped] | None" = None
"""the exception that was raised for it, as long as anybody has it: cleaning up takes its time, and must not be disturbed"""
_reminding = _thread.allocate_lock()


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
    if signal.getsignal(REMINDER) == signal.SIG_DFL:
        signal.signal(REMINDER, _raise_owed)
        sys.unraisablehook = _quiet(sys.unraisablehook)


def check() -> None:
    """Raise Stopped, once, if a signal that ends the work was noted: to be called in each round of a long loop."""
    if (number := take()) and number != SAVE_ONLY:
        raise Stopped(number)


def check_swallowed() -> None:
    """Raise Stopped if a signal's exception was swallowed, or could not be raised yet: work would end as if it were done."""
    if (number := _owed) is not None:
        take()
        raise Stopped(number)


def note(number: int) -> None:
    """As if the signal had come: work that asks for signals ends, or saves itself, at the next opportunity."""
    _noted.append(number)


def take() -> int | None:
    """The signal that came since the last call, if any; one that ends the work goes before one that only saves.

    It is raised no more.
    """
    global _owed  # noqa: PLW0603
    _owed = None
    if not _noted:
        return None
    seen, _noted[:] = list(_noted), []
    return next((number for number in seen if number != SAVE_ONLY), seen[0])


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGUSR1 are only noted, for :func:`take`; a second Ctrl-C raises at once.

    What was to be raised before it waits for :func:`take` too, and is raised afterwards otherwise. Signals that were ignored
    stay ignored. In a thread other than the main one, where Python allows no handlers, nothing changes.
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
        # Where signals do not raise Stopped, it is up to others what becomes of this one.
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
    """Raise Stopped, now or, where Python would swallow it, a moment later."""
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
        del stopped  # or it would hold itself, by its traceback


def _landed(gone: "weakref.ref[Stopped]") -> None:
    """Nobody has the exception any more: it was handled, and so taken, or swallowed."""
    global _flying  # noqa: PLW0603
    if _flying is gone:
        _flying = None
        if _owed is not None:
            _remind()


def _swallows(frame: FrameType | None) -> bool:
    """Whether the frame, or one that has called it, is a finaliser or a callback of the garbage collector."""
    callbacks = [_code(callback) for callback in gc.callbacks]
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


def _code(callback: Callable[..., object]) -> CodeType | None:
    """The code of a function, a method or an object that can be called."""
    function = getattr(callback, "__func__", callback)
    found: CodeType | None = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return found


def _remind() -> None:
    """Start the thread that has the owed signal raised. Not by ``threading``, whose locks the main thread may hold just now."""
    if _reminding.acquire(blocking=False):
        try:
            _thread.start_new_thread(_send_reminders, ())
        except RuntimeError:  # the interpreter is about to end
            _reminding.release()


def _is_owed() -> bool:
    return _owed is not None


def _send_reminders() -> None:
    main = threading.main_thread().ident
    assert main is not None
    while _is_owed():
        time.sleep(REMIND_SECONDS)
        if _is_owed() and _flying is None:
            with suppress(ProcessLookupError):
                signal.pthread_kill(main, REMINDER)
    _reminding.release()
    if _is_owed():  # since the loop has ended
        _remind()


def _quiet(hook: Callable[["sys.UnraisableHookArgs"], object]) -> Callable[["sys.UnraisableHookArgs"], object]:
    """The hook, but without a word on an exception that will be raised again."""

    def quiet(unraisable: "sys.UnraisableHookArgs") -> None:
        if _owed is None or not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)

    return quiet
