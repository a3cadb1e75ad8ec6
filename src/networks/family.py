"""Families by name: the short ones below, and classes of the user's own by their dotted path."""

import importlib
from pathlib import Path

from ..core.errors import UserError
from .interface import Discriminator, Family, Generator

FAMILIES = {
    "mlp": ".families.mlp.Mlp",
    "dcgan": ".families.dcgan.Dcgan",
    "resnet": ".families.resnet.Resnet",
    "progressive": ".families.progressive.Progressive",
}
"""The class that each short name of ``model.family`` stands for, relative to this package."""


def find_family(name: str, where: str = "model.family") -> type[Family]:
    """The family of a short name, or the class that a dotted path such as ``extras.tiny.Tiny`` names.

    A dotted path is only imported from a Python file below the current folder, the project's: a description that came from
    elsewhere cannot bring code of its own, nor choose among what is installed. Raises UserError, which begins with ``where``,
    when there is no such file or class, or it is no :class:`Family`.
    """
    module_name, _, class_name = FAMILIES.get(name, name).rpartition(".")
    if name not in FAMILIES:
        file = _file_of(module_name) if module_name else Path(name)
        if not module_name or not file.is_file():
            missing = f"{file} is not in {Path.cwd()}" if module_name else "it has no dot"
            raise UserError(
                f"{where}: unknown family {name!r} ({missing}); it is {' | '.join(FAMILIES)}, or the dotted path of a class "
                "in a file of the project, such as extras.tiny.Tiny in extras/tiny.py"
            )
    try:
        module = importlib.import_module(module_name, __package__)
    except Exception as error:  # whatever the user's own file raises
        raise UserError(f"{where}: {name}: its file cannot be imported: {type(error).__name__}: {error}") from error
    if name not in FAMILIES and Path(module.__file__ or "").resolve() != file.resolve():
        raise UserError(f"{where}: {name}: {module.__file__} has the same name as {file.resolve()}; rename the file")
    family = getattr(module, class_name, None)
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise UserError(f"{where}: {name} is no subclass of {Family.__module__}.{Family.__name__}")
    for kind, wanted in (("generator", Generator), ("discriminator", Discriminator)):
        if not (isinstance(found := getattr(family, kind, None), type) and issubclass(found, wanted)):
            raise UserError(f"{where}: {name}.{kind} is no subclass of {wanted.__module__}.{wanted.__name__}")
    return family


def family_code(name: str) -> list[Path]:
    """Where a family of the user's own has its code: the folder of its file, or the file in the project's own folder.

    Empty for a short name, whose code is here.
    """
    if name in FAMILIES:
        return []
    file = _file_of(name.rpartition(".")[0])
    return [file if file.parent == Path() else file.parent]


def _file_of(module_name: str) -> Path:
    return Path(*module_name.split(".")).with_suffix(".py")
