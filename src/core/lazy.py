"""Modules that are imported when they are first used."""

import importlib
from typing import Any


class _LazyModule:
    """Stands for a module that is slow to import, where a file is also read for what it declares."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


def lazy(name: str) -> Any:
    """The module ``name``, imported at the first use of one of its attributes."""
    return _LazyModule(name)
