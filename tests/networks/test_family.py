import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.networks.description import build_pair, load_generator
from src.networks.family import FAMILIES, find_family
from src.networks.interface import Discriminator, Family, Generator
from src.networks.weights import content_hash, save_network

OPTIONS = {"conditioning": "concat", "latent_size": 3, "class_count": 2, "channels": 1, "image_size": 8, "width": 8,
           "dropout": 0.0, "spectral_norm": False, "hidden_sizes": [4]}  # fmt: skip
CODE = """
from src.networks.families.mlp import Mlp, MlpGenerator

class Small(Mlp):
    pass

class Half(Mlp):
    generator = int

NOTHING = 3
"""


@pytest.fixture
def extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder with a file of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "own_family.py").write_text(CODE)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "extras"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_short_name_stands_for_a_class(name: str) -> None:
    family = find_family(name)
    assert f"{family.__module__}.{family.__qualname__}" == f"src.networks{FAMILIES[name]}"
    assert issubclass(family, Family)
    assert issubclass(family.generator, Generator)
    assert issubclass(family.discriminator, Discriminator)
    assert set(Family.conditionings) <= set(family.conditionings)


def test_a_class_of_ones_own_by_its_dotted_path(extras: Path) -> None:
    name = "extras.own_family.Small"
    torch.manual_seed(0)
    generator, discriminator = build_pair(name, **OPTIONS)
    images = generator(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert discriminator(images, torch.tensor([0, 1]))[0].shape == (2,)
    assert generator.description["architecture"] == f"{name} generator"
    save_network(generator, extras, "generator")
    assert content_hash(load_generator(extras)) == content_hash(generator)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "vae",
            r"unknown family 'vae' \(it has no dot\); allowed are mlp \| dcgan \| compact \| resnet \| progressive, or the",
        ),
        ("extras.missing.Small", r"unknown family 'extras\.missing\.Small' \(extras/missing\.py is not in .*\)"),
        # Not the user's own file: what is installed is not imported because a description says so.
        ("json.decoder.JSONDecoder", r"unknown family 'json\.decoder\.JSONDecoder' \(json/decoder\.py is not in"),
        ("extras.own_family.Other", r"extras\.own_family\.Other is not a subclass of src\.networks\.interface\.Family"),
        (
            "extras.own_family.NOTHING",
            r"extras\.own_family\.NOTHING is not a subclass of src\.networks\.interface\.Family",
        ),
        (
            "extras.own_family.Half",
            r"extras\.own_family\.Half\.generator is not a subclass of src\.networks\.interface\.Generator",
        ),
        (
            "src.networks.families.mlp.MlpGenerator",
            r"unknown family 'src\.networks\.families\.mlp\.MlpGenerator' \(src/networks/families/mlp\.py is not",
        ),
    ],
)
def test_what_is_no_family_is_refused(name: str, message: str, extras: Path) -> None:
    with pytest.raises(UserError, match=rf"^model\.family: {message}"):
        find_family(name)


def test_a_file_that_fails_is_named_with_its_error(extras: Path) -> None:
    (extras / "extras" / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(
        UserError, match=r"its file cannot be imported: ModuleNotFoundError: No module named 'nothing_of"
    ):
        find_family("extras.broken.Small")


def test_a_file_behind_an_installed_module_of_its_name_is_refused(extras: Path) -> None:
    (extras / "json").mkdir()
    (extras / "json" / "decoder.py").write_text(CODE)
    with pytest.raises(UserError, match=r"json/decoder\.py has the same name as .*/json/decoder\.py; rename the file"):
        find_family("json.decoder.JSONDecoder")
