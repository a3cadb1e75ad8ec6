"""Modules that are imported on first use."""

import importlib
from typing import Any


class _LazyModule:
    """A placeholder for a module that is slow to import, in files that are also imported for their declarations."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


def lazy(name: str) -> Any:
    """The module ``name``, imported when one of its attributes is first used."""
    return _LazyModule(name)
