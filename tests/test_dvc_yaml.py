"""dvc.yaml tells the truth: every module that a stage imports is among its dependencies."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src.params import load_params

ROOT = Path(__file__).parent.parent
STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


GROUND_FLOOR = {
    "params",
    "params_edit",
    "errors",
    "paths",
    "files",
    "interrupts",
    "pixels",
    "device",
    "tables",
    "__init__",
}


def imported_files(file: Path) -> set[Path]:
    """The project's own files that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            base = ROOT / name.replace(".", "/")
            found |= {path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()}
    return found


def closure(file: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += imported_files(current)
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_dependencies_are_complete(name: str) -> None:
    declared = [ROOT / dependency for dependency in STAGES[name]["deps"]]
    needed = closure(ROOT / f"src/{name}.py")
    missing = [str(path) for path in needed if not any(path == one or one in path.parents for one in declared)]
    assert not missing
    code = [path for path in declared if path.is_relative_to(ROOT / "src") and path.name != "__init__.py"]
    idle = [str(path) for path in code if not any(one == path or path in one.parents for one in needed)]
    assert not idle
    assert ROOT / "requirements.lock" in declared
    assert STAGES[name]["cmd"] == f"python -m src.{name}"


@pytest.mark.parametrize("name", STAGES)
def test_declared_parameters_exist(name: str) -> None:
    known = load_params(ROOT / "params.yaml").flat()
    sections = {parameter.partition(".")[0] for parameter in known}
    assert set(STAGES[name]["params"]) <= known.keys() | sections


def test_rooms_import_only_from_floors_below() -> None:
    """docs/architecture.md draws the floors; an import may only go down, or stay in its room."""
    floors = {
        "tuning": 5,
        "tracking": 4,
        "training": 3,
        "metrics": 3,
        "pictures": 3,
        "networks": 2,
        "datasets": 2,
        "checks": 2,
    }
    wrong = []
    for file in (ROOT / "src").rglob("*.py"):
        room = file.relative_to(ROOT / "src").parts[0]
        floor = floors.get(room, 6)
        if room.removesuffix(".py") in GROUND_FLOOR:
            floor = 1
        for other in imported_files(file):
            target = other.relative_to(ROOT / "src").parts[0]
            if target != room and floors.get(target, 1) >= floor > 1 and floor < 6:
                wrong.append(f"{file.relative_to(ROOT)} imports {other.relative_to(ROOT)}")
            if floor == 1 and target in floors:
                wrong.append(f"{file.relative_to(ROOT)} imports {other.relative_to(ROOT)}")
    assert not wrong
