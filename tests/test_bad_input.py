"""Bad input, systematically: exit status 2, one sentence, no traceback, and no file changed.

Tables cross every parameter with wrong kinds, every file of an earlier stage with damage, and every argument with nonsense.
"""

import argparse
import importlib
import json
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
}
"""arguments that a command cannot do without"""
WRONG: tuple[Any, ...] = ("nonsense", -1e99, float("nan"), True, None, [], [[]], {}, {"low": 2, "high": 1}, "")


@pytest.fixture(scope="module")
def copy(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_of(project, tmp_path_factory.mktemp("bad") / "project", ".git", "cache")


def contents(project: Project) -> dict[str, tuple[int, int]]:
    """Size and time of each file of the project but its code."""
    places = [project.folder / name for name in ("data", "models", "mlruns")]
    files = [*project.folder.iterdir(), *(file for place in places for file in place.rglob("*"))]
    return {
        str(file): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file() and file.suffix not in (".lock", ".db-shm", ".db-wal")
    }


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
            "prepared with data.test_fraction 0.2, but params.yaml has 0.3; run `dvc repro prepare`",
        ),
        (
            "feature_size: 64",
            "feature_size: 32",
            CONFIGURED[1:],
            "classifier was made with classifier.feature_size 32, but params.yaml has 64; run `dvc repro train_classifier`",
        ),
        (
            "latent_size: 9",
            "latent_size: 8",
            CONFIGURED[2:],
            "gan was made with model.latent_size 8, but params.yaml has 9; run `dvc repro train`",
        ),
        (
            "family: dcgan",
            "family: mlp",
            CONFIGURED[2:],
            "gan was made with model.family mlp, but params.yaml has dcgan; run `dvc repro train`",
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


@pytest.mark.parametrize(
    ("name", "stages", "words"),
    [
        (
            "models/classifier/report.json",
            ("train", "evaluate", "register"),
            "models/classifier was made from other data than data/prepared has; run `dvc repro train_classifier`",
        ),
        (
            "models/gan/card.json",
            ("evaluate", "register"),
            "models/gan was made from other data than data/prepared has; run `dvc repro train`",
        ),
    ],
)
def test_a_network_of_other_data(name: str, stages: Sequence[str], words: str, copy: Project) -> None:
    path = copy.folder / name
    good = path.read_bytes()
    try:
        path.write_text(json.dumps(json.loads(good) | {"data_hash": "other"}), encoding="utf-8")
        for stage in stages:
            assert words in refused(copy, stage)
    finally:
        path.write_bytes(good)


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


READ = {
    ("prepare",): ["data/raw/digits.safetensors"],
    ("train",): [REPORT := "models/classifier/report.json"],
    ("evaluate",): [REPORT, CARD := "models/gan/card.json"],
    ("register",): [
        *(REPORT, CARD, "models/gan/generator.json", "models/gan/history.json", "models/evaluation/confusion.csv"),
        *("data/prepared/dataset.safetensors", "data/prepared/card.json"),
        *("models/classifier/classifier.json", "models/classifier/classifier.safetensors"),
    ],
    ("sample", *NEEDED["sample"]): [CARD, "models/gan/generator.json", "models/gan/generator.safetensors"],
    ("compare", *NEEDED["compare"]): ["models/evaluation/scorecard.json", "models/evaluation/bootstrap.csv"],
    ("tune", "--dry-run"): ["data/prepared/dataset.safetensors", "data/prepared/card.json", REPORT],
}
"""what is read besides the dependencies of a stage"""


def inputs() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each stage and command with each file of an earlier stage that it reads."""
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for stage in STAGES:
        for name in pipeline[stage]["deps"]:
            if name.startswith(("data/", "models/")) and Path(name).suffix:
                yield (stage,), name
    for command, names in READ.items():
        yield from ((command, name) for name in names)


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
"""a sound file of the same kind, but with other content"""


@pytest.mark.parametrize(("command", "name"), list(inputs()))
def test_a_damaged_file_of_an_earlier_stage(command: tuple[str, ...], name: str, copy: Project) -> None:
    path = copy.folder / name
    good = path.read_bytes()
    text = path.suffix == ".md"  # of which a part is a text as well
    for how in ("overwritten", "removed", "a folder", *(() if text else ("cut", "emptied", "swapped"))):
        # Under its own name, all is registered, and nothing is read.
        with changed(copy, "model_name: gan-other", "model_name: gan-digits"):
            try:
                damage(path, how)
                message = refused(copy, *command)
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


GOOD = {"number": "1", "first": "models/evaluation", "second": "models/evaluation", "hash": "abcdef"}
"""positional arguments; all others are models"""
FREE = {("sample", "--out")}
"""options whose value may be any text, here the name of a new folder"""


def argument_lists() -> Iterator[tuple[str, ...]]:
    """The command lines in which one argument, of any parser of any command, is wrong."""
    for command in COMMANDS:
        main = parser_of(command)
        subs = [action.choices for action in main._actions if isinstance(action, argparse._SubParsersAction)]
        parsers = {(): main} | {(name,): parser for choices in subs for name, parser in choices.items()}
        for sub, parser in parsers.items():
            actions = [one for one in parser._actions if not isinstance(one, argparse._SubParsersAction)]
            positional = [one for one in actions if not one.option_strings]
            good = {one.dest: GOOD.get(one.dest, "gan-digits@champion") for one in positional if one.nargs is None}
            start = (command, *sub)
            flags = NEEDED["sample"] if command == "sample" else []
            if sub or not subs:
                yield (*start, *good.values(), *flags, *["nonsense"] * 9)
            yield (*start, *good.values(), *flags, "--no-such-option")
            for action in actions:
                if action.nargs == 0:
                    continue
                for wrong in ("", "no such/thing", *(["-1"] if action.type in (int, float) else [])):
                    if action in positional:
                        yield (*start, *(good | {action.dest: wrong}).values(), *flags)
                    elif not wrong or (command, action.option_strings[-1]) not in FREE:
                        yield (*start, *good.values(), *flags, action.option_strings[-1], wrong)


@pytest.mark.parametrize("arguments", list(argument_lists()), ids=" ".join)
def test_an_argument_that_is_nonsense(arguments: tuple[str, ...], copy: Project) -> None:
    assert "error: " in refused(copy, *arguments)
