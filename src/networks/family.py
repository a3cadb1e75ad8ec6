"""Families by name: built-in ones by a short name, user-defined classes by their dotted path."""

import importlib
from pathlib import Path

from ..core.errors import UserError
from .interface import Discriminator, Family, Generator

FAMILIES = {
    "mlp": ".families.mlp.Mlp",
    "dcgan": ".families.dcgan.Dcgan",
    "compact": ".families.compact.Compact",
    "resnet": ".families.resnet.Resnet",
    "progressive": ".families.progressive.Progressive",
}
"""The class of each short name of ``model.family``, relative to this package."""


def find_family(name: str, where: str = "model.family") -> type[Family]:
    """The family of a short name, or the class of a dotted path such as ``extras.tiny.Tiny``.

    A dotted path is only imported from a Python file below the current folder, the project's: a description from elsewhere
    can neither bring its own code nor select an installed package. Raises UserError, which begins with ``where``, if there
    is no such file or class, or it is no :class:`Family`.
    """
    module_name, _, class_name = FAMILIES.get(name, name).rpartition(".")
    file = _file_of(name, where)
    try:
        module = importlib.import_module(module_name, __package__)
    except Exception as error:  # whatever the user's own file raises
        raise UserError(f"{where}: {name}: its file cannot be imported: {type(error).__name__}: {error}") from error
    if file is not None and Path(module.__file__ or "").resolve() != file.resolve():
        raise UserError(f"{where}: {name}: {module.__file__} has the same name as {file.resolve()}; rename the file")
    family = getattr(module, class_name, None)
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise UserError(f"{where}: {name} is not a subclass of {Family.__module__}.{Family.__name__}")
    for kind, wanted in (("generator", Generator), ("discriminator", Discriminator)):
        if not (isinstance(found := getattr(family, kind, None), type) and issubclass(found, wanted)):
            raise UserError(f"{where}: {name}.{kind} is not a subclass of {wanted.__module__}.{wanted.__name__}")
    return family


def family_code(name: str) -> list[Path]:
    """The code of a user-defined family: the folder of its file, or the file if that is in the project's root folder.

    Empty for a built-in family. Raises UserError if there is no such file.
    """
    file = _file_of(name)
    if file is None:
        return []
    return [file if file.parent == Path() else file.parent]


def _file_of(name: str, where: str = "model.family") -> Path | None:
    """The file of a user-defined family, None for a built-in one."""
    if name in FAMILIES:
        return None
    module_name = name.rpartition(".")[0]
    file = Path(*module_name.split(".")).with_suffix(".py") if module_name else None
    if file is None or not file.is_file():
        missing = f"{file} is not in {Path.cwd()}" if file else "it has no dot"
        raise UserError(
            f"{where}: unknown family {name!r} ({missing}); allowed are {' | '.join(FAMILIES)}, or the dotted path of a class "
            "in a file of the project, such as extras.tiny.Tiny in extras/tiny.py"
        )
    return file
