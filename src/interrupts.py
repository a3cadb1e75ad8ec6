"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a finaliser, in a callback of the garbage
collector or below a bare ``except`` of some library it is swallowed, and a training would go on for hours. So the
signal is remembered as well, and the long loops ask for it.
"""

import signal
from types import FrameType

_seen: list[int] = []


def install() -> None:
    """Remember SIGINT from now on, besides raising KeyboardInterrupt. Where SIGINT is ignored (``nohup``), it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def _remember(number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    raise KeyboardInterrupt


def check() -> None:
    """Raise KeyboardInterrupt, once, if a SIGINT has come: to be called in each round of a long loop."""
    if _seen:
        _seen.clear()
        raise KeyboardInterrupt
