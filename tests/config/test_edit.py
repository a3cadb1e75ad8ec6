import difflib
import shutil
from pathlib import Path
from typing import Any

import pytest

from src.config.edit import commented, write_params
from src.config.params import load_params, parse_text
from src.core.errors import UserError
from tests.conftest import ROOT, SAMPLE


def changed_lines(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def test_writing_changes_the_values_and_no_other_byte(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(SAMPLE, path)
    write_params({}, path)
    assert path.read_bytes() == SAMPLE.read_bytes()
    changes: dict[str, Any] = {
        "data.folder": "/a b: #c",
        "model.hidden_sizes": [128, 1024],
        "train.loss": "hinge",
        "train.lr_generator": 1.25e-5,
        "train.kimg": 6,
    }
    write_params(changes, path)
    assert changed_lines(SAMPLE.read_text(), path.read_text()) == [
        "-  folder: data/own              # your own images, or a dataset's files if no mirror answers\n",
        '+  folder: "/a b: #c"              # your own images, or a dataset\'s files if no mirror answers\n',
        "-  hidden_sizes: [256, 512, 1024]  # mlp: hidden layers of the generator, reversed in the discriminator\n",
        "+  hidden_sizes: [128, 1024]  # mlp: hidden layers of the generator, reversed in the discriminator\n",
        "-  kimg: 320                     # thousands of real images shown in a run\n",
        "+  kimg: 6                     # thousands of real images shown in a run\n",
        "-  loss: bce                     # bce | least_squares | hinge | wasserstein | relativistic; on logits\n",
        "+  loss: hinge                     # bce | least_squares | hinge | wasserstein | relativistic; on logits\n",
        "-  lr_generator: 0.002           # learning rate of the generator\n",
        "+  lr_generator: 1.25e-05           # learning rate of the generator\n",
    ]
    assert load_params(path) == load_params(SAMPLE).replace(changes)
    write_params(
        {
            "data.folder": "data/own",
            "model.hidden_sizes": [256, 512, 1024],
            "train.loss": "bce",
            "train.lr_generator": 0.002,
            "train.kimg": 320,
        },
        path,
    )
    assert path.read_bytes() == SAMPLE.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("evaluate:\r\n    inception_weights:   ~  # ä\r\n", "x", "evaluate:\r\n    inception_weights:   x  # ä\r\n"),
        ("evaluate:\n  inception_weights:\n  seed: 0x10", "x", "evaluate:\n  inception_weights: x\n  seed: 0x10"),
        ("evaluate: {inception_weights: 'x', seed: 3}", None, "evaluate: {inception_weights: null, seed: 3}"),
        ("evaluate:\n  inception_weights: x\n", "null", 'evaluate:\n  inception_weights: "null"\n'),
        ("evaluate:\n  inception_weights: x\n", "007", 'evaluate:\n  inception_weights: "007"\n'),
    ],
)
def test_any_style_of_yaml_is_kept(text: str, value: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode())
    write_params({"evaluate.inception_weights": value}, path)
    assert path.read_bytes().decode() == expected
    assert parse_text(path.read_bytes().decode(), str(path)).evaluate.inception_weights == value


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("train: {kimg: 5}", {"train.kimg": 0}, r"train\.kimg: 0 is not allowed"),
        ("train: {kimg: 5}", {"train.kimg": 6, "train.loss": "x"}, r"train\.loss: 'x' is not allowed"),
        ("train: {kimg: 5}", {"train.kmg": 6}, r"train\.kmg: unknown parameter; did you mean train\.kimg\?"),
        ("train: {kimg: x}", {"train.kimg": 6}, r"params\.yaml: train\.kimg: 'x' is not allowed"),
        ("train: {kimg: 5}", {"train.l1": 0.1}, r"params\.yaml: train\.l1 has no value on a single line"),
        ("", {"train.l1": 0.1}, r"params\.yaml: train\.l1 has no value on a single line"),
        ("model:\n  hidden_sizes:\n  - 3\n", {"model.hidden_sizes": [4]}, r"hidden_sizes has no value on a single line"),
        ("train: {kimg: &k 5, r1_weight: *k}", {"train.kimg": 6}, r"train\.kimg cannot be changed automatically"),
        ("train: {kimg: 5}", {"train.patience": 3}, r"train\.patience"),
    ],
)  # fmt: skip
def test_a_refused_change_leaves_the_file_as_it_is(
    text: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        write_params(changes, path)
    assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["params.yaml"]


def test_the_projects_file_has_the_comments_of_the_fields() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert commented(text) == text
    assert max(map(len, text.splitlines())) <= 128


def test_comments_are_written_and_every_value_stays_as_it_was_written() -> None:
    text = "train:\n  lr_generator: 1e-3 # mine\nmodel:\n  hidden_sizes:\n  - 8\n  - 16\n"
    written = commented(text)
    assert "  lr_generator: 1e-3            # learning rate of the generator\n" in written
    assert (
        "  hidden_sizes:                 # mlp: hidden layers of the generator, reversed in the discriminator\n  - 8\n"
        in written
    )
    assert commented(written) == written
    assert parse_text(written, "") == parse_text(text, "")
    with pytest.raises(UserError, match=r"^here: train\.kimg: 0 is not allowed"):
        commented("train: {kimg: 0}", "here")
