"""Wrong input, systematically: exit status 2, one sentence, no traceback, and no file changed.

Tables cross every parameter with wrong kinds, every file of an earlier stage with damage, and every argument with nonsense.
"""

import argparse
import hashlib
import importlib
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ruamel.yaml import YAML

from src.config.params import Params, load_params
from src.core.errors import UserError
from tests.conftest import ROOT, SAMPLE, Project, copy_of

STAGES = ("train_classifier", "train", "evaluate", "report", "register")
CONFIGURED = tuple(stage for stage in STAGES if stage != "report")
"""those that read params.yaml"""
COMMANDS = (
    *("download", "prepare", *STAGES, "tune", "recipes", "compare_recipes", "sample", "compare", "lineage", "serve"),
    *("params", "stages", "registry", "doctor"),
)
NEEDED = {
    "sample": ["--model", "models/gan", "--out", "images.png"],
    "compare": ["models/evaluation", "models/evaluation"],
    "serve": ["models/gan"],
}
"""arguments that a command cannot do without"""
WRONG: tuple[Any, ...] = ("nonsense", -1e99, float("nan"), True, None, [], [[]], {}, {"low": 2, "high": 1}, "")


@pytest.fixture(scope="module")
def copy(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_of(project, tmp_path_factory.mktemp("bad") / "project", ".git", "cache")


def contents(project: Project) -> dict[str, str]:
    """The hash of each file that a stage reads or writes."""
    files = [
        project.folder / "params.yaml",
        *(f for name in ("data", "models") for f in (project.folder / name).rglob("*")),
    ]
    return {str(file): hashlib.md5(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def refused(project: Project, name: str, *arguments: str) -> str:
    """The message of a command that refuses; it has changed nothing."""
    before = contents(project)
    result = project.module(name, *arguments, check=False)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    assert contents(project) == before
    return result.stderr


@pytest.mark.parametrize("name", Params().flat())
def test_a_parameter_of_a_wrong_kind(name: str, tmp_path: Path) -> None:
    """Each value is refused by a line that names the parameter, or taken as it is."""
    section, _, field = name.partition(".")
    refusals = 0
    for wrong in WRONG:
        content = YAML(typ="safe").load(SAMPLE)
        content[section][field] = wrong
        path = tmp_path / "params.yaml"
        YAML(typ="safe").dump(content, path)
        error = None
        try:
            taken = load_params(path).flat()[name]
        except UserError as refusal:
            error = str(refusal)
        if error is None:
            assert taken == wrong or (taken, wrong) in ((1, True), ({}, None)), wrong
        else:
            refusals += 1
            assert field in error, (wrong, error)
            assert error.startswith(f"{path}: "), (wrong, error)
    assert refusals >= 6


@pytest.mark.parametrize(
    "content", ["", "# nothing but a comment\n", "null\n", "- 1\n", "7\n", "nonsense", "a: [", "\0", "{}"]
)
def test_a_params_file_that_is_none(content: str, copy: Project) -> None:
    path = copy.folder / "params.yaml"
    good = path.read_bytes()
    path.write_text(content, encoding="utf-8")
    try:
        for stage in CONFIGURED:
            message = refused(copy, stage)
            assert message.startswith("error: params.yaml"), message
            assert message.count("\n") == 1
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    "family", ["os.system", "os.path", "nosuch.Thing", "json", "extras.tiny.Tiny", ".", "a..b", "/etc.x"]
)
def test_a_family_that_is_none(family: str, copy: Project) -> None:
    with changed(copy, f"family: {family!r}", "family: mlp"):
        message = refused(copy, "train")
        assert "model.family" in message
        assert "mlp | dcgan" in message


@pytest.mark.parametrize(
    ("text", "good", "stages", "words"),
    [
        (
            "dataset: fashion-mnist",
            "dataset: digits",
            CONFIGURED,
            "prepared with data.dataset digits, but params.yaml has fashion-mnist",
        ),
        ("split_seed: 7", "split_seed: 0", CONFIGURED, "prepared with data.split_seed 0, but params.yaml has 7"),
        (
            "test_fraction: 0.3",
            "test_fraction: 0.2",
            CONFIGURED,
            "prepared with data.test_fraction 0.2, but params.yaml has 0.3",
        ),
        (
            "device: cuda",
            "device: cpu",
            ("train_classifier", "train", "evaluate"),
            "train.device is cuda, but PyTorch sees no",
        ),
    ],
)
def test_a_stage_by_hand_after_a_parameter_was_changed(
    text: str, good: str, stages: Sequence[str], words: str, copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with changed(copy, text, good):
        for stage in stages:
            assert words in refused(copy, stage)


class changed:  # noqa: N801
    """A params.yaml in which one text takes the place of another."""

    def __init__(self, project: Project, text: str, good: str) -> None:
        self.path, self.text, self.good = project.folder / "params.yaml", text, good

    def __enter__(self) -> None:
        self.before = self.path.read_text(encoding="utf-8")
        assert self.before.count(self.good) == 1
        self.path.write_text(self.before.replace(self.good, self.text), encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        self.path.write_text(self.before, encoding="utf-8")


def inputs() -> Iterator[tuple[str, str]]:
    """Each stage with each file of an earlier stage that it reads."""
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for stage in STAGES:
        for name in pipeline[stage]["deps"]:
            if name.startswith(("data/", "models/")) and Path(name).suffix not in ("", ".md"):
                yield stage, name


DAMAGE = ("cut", "emptied", "overwritten", "removed", "swapped", "a folder")


def damage(path: Path, how: str) -> None:
    good = path.read_bytes()
    path.unlink()
    match how:
        case "cut":
            path.write_bytes(good[: len(good) // 2])
        case "emptied":
            path.write_bytes(b"")
        case "overwritten":
            path.write_bytes(random.Random(0).randbytes(len(good)))
        case "swapped":
            shutil.copyfile(path.parent.parent.parent / "models" / OTHER[path.suffix], path)
        case "a folder":
            path.mkdir()


OTHER = {
    ".json": "gan/metrics.json",
    ".safetensors": "gan/discriminator.safetensors",
    ".csv": "evaluation/per_class.csv",
}
"""a sound file of the same kind, but of something else"""


@pytest.mark.parametrize(("stage", "name"), list(inputs()))
def test_a_damaged_file_of_an_earlier_stage(stage: str, name: str, copy: Project) -> None:
    path = copy.folder / name
    good = path.read_bytes()
    for how in DAMAGE:
        try:
            damage(path, how)
            message = refused(copy, stage)
        finally:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            path.write_bytes(good)
        assert message.startswith("error: "), (how, message)
        assert Path(name).parent.name in message, (how, message)
        assert message.count("\n") == 1, (how, message)


class Captured(Exception):
    """Holds the parser of a command."""


def parser_of(command: str) -> argparse.ArgumentParser:
    def capture(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise Captured(parser)

    module = importlib.import_module(f"src.{command}")
    main = getattr(module, "main", None) or importlib.import_module(f"src.{command}.__main__").main
    with mock.patch.object(argparse.ArgumentParser, "parse_args", capture), pytest.raises(Captured) as caught:
        main([])
    parser: argparse.ArgumentParser = caught.value.args[0]
    return parser


def options() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each command, its subcommand if there are some, and options that take a value."""
    for command in COMMANDS:
        parsers: dict[tuple[str, ...], argparse.ArgumentParser] = {(): parser_of(command)}
        for action in parsers[()]._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers = {(name,): parser for name, parser in action.choices.items()}
        for sub, parser in parsers.items():
            wanted = [
                action for action in parser._actions if not action.option_strings and action.nargs not in ("*", "?")
            ]
            positional = ["1" if action.type is int else "gan-digits@champion" for action in wanted]
            for action in parser._actions:
                if action.option_strings and action.nargs != 0:
                    yield command, [*sub, *(NEEDED.get(command) or positional)], [action.option_strings[-1]]
            yield command, [*sub, *(NEEDED.get(command) or positional)], []


@pytest.mark.parametrize(("command", "needed", "option"), list(options()))
def test_an_argument_that_is_nonsense(command: str, needed: list[str], option: list[str], copy: Project) -> None:
    if option:
        message = refused(copy, command, *needed, *option, "")
        assert f"argument {option[0]}: it must not be empty" in message
    else:
        assert "--no-such-option" in refused(copy, command, *needed, "--no-such-option")
        assert "nonsense" in refused(copy, command, *needed, *["nonsense"] * 9)
