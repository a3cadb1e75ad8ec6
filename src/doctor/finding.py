"""The result of a check of ``python -m src.doctor``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    """``problem``: something does not work or is wrong; ``warning``: worth knowing, but everything works"""
    text: str
    advice: str = ""
    """what ``repair`` will do, or without it what the user can do"""
    repair: Callable[[], str] | None = None
    """fixes it, and returns a sentence about what was done; may raise any exception"""


Check: TypeAlias = Callable[[], Iterable[Finding]]


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
