import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from src.config.params import (
    Choices,
    FloatRange,
    IntRange,
    Params,
    SpaceEntry,
    load_params,
    parameters,
    parse_params,
    parse_text,
    read_text,
)
from src.core.errors import UserError

LOSSES = "bce | least_squares | hinge | wasserstein | relativistic"
SHIPPED = Path(__file__).parents[2] / "params.yaml"


def load(text: str, folder: Path) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return parse_text(read_text(path), str(path))


def refusal(text: str, folder: Path) -> str:
    """The error's message without the folder, so that it can be compared whole."""
    with pytest.raises(UserError) as caught:
        load(text, folder)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_projects_file_names_every_parameter() -> None:
    load_params(SHIPPED)
    written = YAML(typ="safe").load(SHIPPED.read_text(encoding="utf-8"))
    named = [f"{section}.{name}" for section, entries in written.items() for name in entries]
    assert named == [one.name for one in parameters()] == list(Params().flat())


def test_what_the_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    assert load("", tmp_path) == load("# only a comment\n", tmp_path) == load("{}", tmp_path) == Params()
    params = load("train: {kimg: 5}", tmp_path)
    assert {name: value for name, value in params.flat().items() if Params().flat()[name] != value} == {"train.kimg": 5}


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001", "1E-04", ".0001"])
def test_a_float_may_be_written_in_any_form(written: str, tmp_path: Path) -> None:
    assert load(f"train: {{lr_generator: {written}}}", tmp_path).train.lr_generator == 1e-4


def test_a_whole_number_is_a_float_where_a_float_is_due(tmp_path: Path) -> None:
    value = load("train: {beta1: 0}", tmp_path).train.beta1
    assert value == 0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr_generater: 1}", "train.lr_generater: unknown parameter; did you mean lr_generator?"),
        ("trian: {kimg: 1}", "trian: unknown parameter; did you mean train?"),
        ("register_: {}", "register_: unknown parameter; did you mean register?"),
        (
            "evaluate: {zzz: 1}",
            "evaluate.zzz: unknown parameter; allowed are samples, nearest_k, seed, resamples, gan_train, "
            "reconstructions, inception_weights, imagenet",
        ),
        (
            "3: 4",
            "3: unknown parameter; allowed are data, classifier, model, train, evaluate, register, tune",
        ),
        ("train: {kimg: lots}", "train.kimg: 'lots' is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: '600'}", "train.kimg: '600' is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: true}", "train.kimg: True is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: null}", "train.kimg: None is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: .nan}", "train.kimg: nan is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: -.inf}", "train.kimg: -inf is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {kimg: 0}", "train.kimg: 0 is not allowed: it must be float > 0 and <= 1000000000"),
        ("train: {beta1: 1}", "train.beta1: 1 is not allowed: it must be float >= 0 and < 1"),
        ("train: {batch_size: true}", "train.batch_size: True is not allowed: it must be int >= 2 and <= 65536"),
        ("train: {batch_size: 128.0}", "train.batch_size: 128.0 is not allowed: it must be int >= 2 and <= 65536"),
        ("train: {batch_size: 1}", "train.batch_size: 1 is not allowed: it must be int >= 2 and <= 65536"),
        ("train: {seed: 4294967296}", "train.seed: 4294967296 is not allowed: it must be int >= 0 and < 4294967296"),
        ("train: {loss: wgan}", f"train.loss: 'wgan' is not allowed: it must be {LOSSES}"),
        ("data: {folder: null}", "data.folder: None is not allowed: it must be text"),
        (
            "model: {hidden_sizes: [12, x, 0]}",
            "model.hidden_sizes: [12, 'x', 0] is not allowed: it must be list of 1 to 16, each int >= 1 and <= 65536",
        ),
        (
            "model: {hidden_sizes: []}",
            "model.hidden_sizes: [] is not allowed: it must be list of 1 to 16, each int >= 1 and <= 65536",
        ),
        (
            "register: {model_name: a b}",
            "register.model_name: 'a b' is not allowed: it must be text matching ^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        ),
        ("train:", "train: None is not allowed: it must be a mapping of names to values"),
        ("train: [1]", "train: [1] is not allowed: it must be a mapping of names to values"),
        ("[1, 2]", "[1, 2] is not allowed: it must be a mapping of sections to parameters"),
        ("hello", "'hello' is not allowed: it must be a mapping of sections to parameters"),
        (
            "train: {patience: 3, kimg: 10, score_every_kimg: 20}",
            "train.patience: early stopping needs train.score_every_kimg below train.kimg",
        ),
    ],
)
def test_a_wrong_parameter_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(text, tmp_path) == f"params.yaml: {message}"


def test_every_wrong_parameter_has_a_line_of_its_own(tmp_path: Path) -> None:
    lines = refusal("train: {kimg: 0, batch_size: x}\nmodel: {widht: 3}\n", tmp_path).splitlines()
    assert len(lines) == 3
    assert {line.removeprefix("error: ").split(": ")[1] for line in lines} == {
        "model.widht",
        "train.kimg",
        "train.batch_size",
    }
    assert all("params.yaml: " in line for line in lines)
    assert [line.startswith("error: ") for line in lines] == [False, True, True]  # run_command writes the first one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {}\ntrain: {a: [\n", "line 3: not valid YAML: expected the node content, but found '<stream end>'"),
        ("train:\n\tkimg: 3", "line 2: not valid YAML: found character '\\t' that cannot start any token"),
        ("train:\n  kimg: 1\n  kimg: 2\n", 'line 3: not valid YAML: found duplicate key "kimg" with value "2"'),
        ("train: !!python/object:os.system {}", "line 1: not valid YAML: could not determine a constructor"),
        ("train: {kimg: \x00}", "params.yaml: not valid YAML: "),
    ],
)
def test_bad_yaml_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    refused = refusal(text, tmp_path)
    assert refused.startswith("params.yaml")
    assert message in refused
    assert "\n" not in refused


def test_a_file_that_cannot_be_read_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}/params\.yaml cannot be read \(.*No such file.*project's folder"):
        load_params()
    Path("params.yaml").write_bytes(b"train: {kimg: \xff}")
    with pytest.raises(UserError, match=r"params\.yaml cannot be read \(.*utf-8"):
        load_params()


def test_replace_makes_a_checked_copy() -> None:
    params = Params()
    changed = params.replace({"train.lr_generator": 1e-4, "model.hidden_sizes": [8], "register.model_name": "x"})
    assert (changed.train.lr_generator, changed.model.hidden_sizes, changed.register_.model_name) == (1e-4, [8], "x")
    assert params == Params()
    assert changed.replace({name: params.flat()[name] for name in params.flat()}) == params
    with pytest.raises(UserError, match=r"^train\.lr: unknown parameter; did you mean train\.l1\?$"):
        params.replace({"train.lr": 1})
    with pytest.raises(UserError, match="unknown parameter"):
        params.replace({"train": {}})
    with pytest.raises(UserError, match=r"^parameters: train\.kimg: 'x' is not allowed: it must be float > 0"):
        params.replace({"train.kimg": "x"})


def test_parameters_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params().train.kimg = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("model.dropout: {low: 0, high: 0.4}", FloatRange(low=0, high=0.4)),
        ("train.r1_weight: {low: 0, high: 10}", FloatRange(low=0, high=10)),
        ("train.r1_weight: {low: 1, high: 10, log: true}", FloatRange(low=1, high=10, log=True)),
        ("train.r1_weight: {low: 0, high: 10, step: 1}", FloatRange(low=0, high=10, step=1)),
        ("train.lr_generator: {low: 1e-4, high: 1e-2, log: true}", FloatRange(low=1e-4, high=1e-2, log=True)),
        ("model.width: {low: 8, high: 64, step: 8}", IntRange(low=8, high=64, step=8)),
        ("model.width: {low: 8, high: 8}", IntRange(low=8, high=8)),
        ("train.loss: {choices: [bce, hinge]}", Choices(choices=["bce", "hinge"])),
        ("train.beta1: {choices: [0, 0.5]}", Choices(choices=[0, 0.5])),
    ],
)
def test_a_range_has_the_kind_of_its_parameter(entry: str, expected: SpaceEntry, tmp_path: Path) -> None:
    params = load(f"tune:\n  space:\n    {entry}\n", tmp_path)
    (found,) = params.tune.space.values()
    assert type(found) is type(expected)
    assert found == expected
    if isinstance(found, FloatRange):
        assert (type(found.low), type(found.high)) == (float, float)
    assert params.replace({"train.kimg": 1}).tune == params.tune


LOGARITHMIC = "a logarithmic range needs low above 0 and no step"
ENTRY = "it must be {low, high[, log, step]} with numbers, or {choices} with a list, either of them with when: {NAME: VALUE}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("model.latent: {low: 1, high: 2}", ".model.latent: unknown parameter; did you mean model.latent_size?"),
        ("dropout: {low: 0, high: 0.3}", ".dropout: only parameters of the model and train sections can be tuned"),
        ("data.split_seed: {low: 0, high: 3}",
         ".data.split_seed: only parameters of the model and train sections can be tuned"),
        ("model.dropout: {low: 0, high: 1}", ".model.dropout: 1.0 is not allowed: it must be float >= 0 and < 1"),
        ("model.width: {low: 2, high: 8}", ".model.width: 2 is not allowed: it must be int >= 4 and <= 2048"),
        ("model.width: {low: 8.0, high: 9}", ".model.width: 8.0 is not allowed: it must be int >= 4 and <= 2048"),
        ("train.loss: {low: 1, high: 2}", f".train.loss: 1 is not allowed: it must be {LOSSES}"),
        ("train.loss: {choices: [bce, wgan]}", f".train.loss: 'wgan' is not allowed: it must be {LOSSES}"),
        ("train.l1: {low: 0.2, high: 0.1}", ".train.l1: low 0.2 is above high 0.1"),
        ("train.l1: {low: 0, high: 0.1, log: true}", ".train.l1: " + LOGARITHMIC),
        ("model.width: {low: 8, high: 64, log: true, step: 8}", ".model.width: " + LOGARITHMIC),
        ("train.l1: {low: 0.1, high: 1, log: true, step: 1}", ".train.l1: " + LOGARITHMIC),
        ("model.width: {choices: []}", ".model.width: {'choices': []} is not allowed: " + ENTRY),
        ("model.width: {low: 8, hihg: 9}", ".model.width: {'low': 8, 'hihg': 9} is not allowed: " + ENTRY),
        ("model.dropout: {low: .nan, high: 0.1}", ".model.dropout: {'low': nan, 'high': 0.1} is not allowed: " + ENTRY),
        ("model.hidden_sizes: {choices: [[8], [0]]}",
         ".model.hidden_sizes: [0] is not allowed: it must be list of 1 to 16, each int >= 1 and <= 65536"),
        ("model.width: {low: 8, high: 9, when: {model.famly: mlp}}",
         ".model.width: when: model.famly: unknown parameter; did you mean model.family?"),
        ("model.width: {low: 8, high: 9, when: {model.family: [mlp, vae]}}",
         ".model.width: when: model.family: 'vae' is not allowed: it must be mlp | dcgan | compact | resnet | "
         "progressive | the dotted path of a class"),
        ("{model.width: {low: 8, high: 9, when: {model.family: mlp}}, model.family: {choices: [mlp]}}",
         ".model.width: when names model.family, which must precede it in tune.space"),
        ("model.width: {low: 8, high: 9, when: {}}",
         ".model.width: {'low': 8, 'high': 9, 'when': {}} is not allowed: " + ENTRY),
        ("model.width: 3", ".model.width: 3 is not allowed: " + ENTRY),
        ("", ": None is not allowed: it must be names, each with " + ENTRY.removeprefix("it must be ")),
    ],
)  # fmt: skip
def test_a_wrong_search_space_is_one_sentence(entry: str, message: str, tmp_path: Path) -> None:
    assert refusal(f"tune:\n  space:\n    {entry}\n", tmp_path) == f"params.yaml: tune.space{message}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("coverage: {at_least: 0.5, at_most: 1}", ".coverage: a constraint has either at_least or at_most"),
        ("coverage: {}", ".coverage: a constraint has either at_least or at_most"),
        ("coverage: 0.5", ".coverage: 0.5 is not allowed: it must be {at_least: NUMBER} or {at_most: NUMBER}"),
        ("", ": None is not allowed: it must be names, each with {at_least: NUMBER} or {at_most: NUMBER}"),
    ],
)
def test_a_wrong_constraint_is_one_sentence(entry: str, message: str, tmp_path: Path) -> None:
    assert refusal(f"tune:\n  constraints:\n    {entry}\n", tmp_path) == f"params.yaml: tune.constraints{message}"


def test_a_space_may_have_conditions_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "tune:\n  space:\n    model.family: {choices: [mlp, dcgan]}\n"
        "    model.width: {low: 16, high: 64, step: 16, when: {model.family: dcgan}}\n"
        "    model.hidden_sizes: {choices: [[256, 512, 1024], [128, 256]], when: {model.family: [mlp]}}\n"
    )
    space = parse_text(read_text(file), str(file)).tune.space
    assert space["model.width"] == IntRange(low=16, high=64, step=16, when={"model.family": "dcgan"})
    assert space["model.hidden_sizes"] == Choices(
        choices=[[256, 512, 1024], [128, 256]], when={"model.family": ["mlp"]}
    )


def test_the_command_prints_every_name_in_full_even_into_a_narrow_pipe() -> None:
    command = [sys.executable, "-m", "src.params"]
    printed = subprocess.run(command, cwd=SHIPPED.parent, capture_output=True, text=True, check=True).stdout
    words = set(printed.split())
    assert set(Params().flat()) <= words
    assert max(map(len, printed.splitlines())) <= 80


def test_parsing_takes_what_json_gives() -> None:
    assert parse_params(json.loads(json.dumps(Params().model_dump(by_alias=True))), "here") == Params()
    assert parse_params(None, "here") == Params()
