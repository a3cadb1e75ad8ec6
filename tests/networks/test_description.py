import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from src.errors import UserError
from src.networks.dcgan import DcganGenerator
from src.networks.description import (
    ARCHITECTURES,
    content_hash,
    describe,
    load_classifier,
    load_generator,
    load_network,
    save_network,
    weights_bytes,
)
from src.networks.interface import Network
from tests.networks.tiny import CONDITIONINGS, FAMILIES, classifier, pair

NETWORKS: dict[str, Callable[[], Network]] = {
    "mlp generator": lambda: pair("mlp")[0],
    "mlp discriminator": lambda: pair("mlp")[1],
    "dcgan generator": lambda: pair("dcgan")[0],
    "dcgan discriminator": lambda: pair("dcgan")[1],
    "conv classifier": classifier,
}


def test_every_architecture_is_tried_below() -> None:
    assert NETWORKS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_saved_network_comes_back_to_the_bit(architecture: str, tmp_path: Path) -> None:
    network = NETWORKS[architecture]()
    assert network.description["architecture"] == architecture
    save_network(network, tmp_path / "new", "net")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["net.json", "net.safetensors"]
    loaded = load_network(tmp_path / "new", "net")
    assert type(loaded) is type(network)
    assert not any(module.training for module in loaded.modules())
    assert loaded.description == network.description
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert content_hash(loaded) == content_hash(network)


def test_the_description_is_all_that_a_network_is_built_from(tmp_path: Path) -> None:
    network = pair("mlp", "concat")[0]
    save_network(network, tmp_path, "generator")
    written = json.loads((tmp_path / "generator.json").read_text())
    assert written == {
        "architecture": "mlp generator",
        "options": {
            "latent_size": 5,
            "class_count": 3,
            "channels": 1,
            "image_size": 8,
            "conditioning": "concat",
            "hidden_sizes": [16, 24],
        },
    }
    with safe_open(tmp_path / "generator.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(network.state_dict())


def test_equal_weights_give_equal_bytes_whatever_their_layout() -> None:
    first, second = pair("dcgan", seed=1)[0], pair("dcgan", seed=1)[0]
    assert isinstance(second, DcganGenerator)
    second.start.weight.data = second.start.weight.data.T.contiguous().T
    second.to(memory_format=torch.channels_last)
    assert not second.start.weight.is_contiguous()
    assert weights_bytes(first) == weights_bytes(second)
    assert content_hash(first) == content_hash(second)
    assert (
        content_hash(first)
        == hashlib.sha256(json.dumps(first.description, sort_keys=True).encode() + weights_bytes(first)).hexdigest()
    )


def test_other_weights_or_another_architecture_have_another_hash() -> None:
    hashes = {content_hash(pair("mlp", "concat", seed=seed)[0]) for seed in (0, 1)}
    hashes.add(content_hash(pair("mlp", "projection", seed=0)[0]))  # the same weights, read in another way
    assert weights_bytes(pair("mlp", "concat")[0]) == weights_bytes(pair("mlp", "projection")[0])
    assert len(hashes) == 3


def test_a_pair_takes_its_options_and_leaves_the_others() -> None:
    for family in FAMILIES:
        for conditioning in CONDITIONINGS:
            generator, discriminator = pair(family, conditioning)
            assert "dropout" not in generator.description["options"]
            assert "latent_size" not in discriminator.description["options"]
            assert generator.description["options"]["conditioning"] == conditioning
    network = classifier()
    assert describe("conv classifier", **network.description["options"], lr=0.1, seed=3) == network.description


OPTIONS: dict[str, Any] = pair()[0].description["options"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "generator.json is not valid JSON: "),
        ("\xff", "generator.json is not valid JSON: "),
        ("[]", "generator.json: "),
        ("{}", "generator.json: unknown architecture None; known are mlp generator, mlp discriminator, dcgan generator"),
        ('{"architecture": "vae", "options": {}}', "generator.json: unknown architecture 'vae'; known are mlp generator"),
        ('{"architecture": ["mlp generator"], "options": {}}', "generator.json: unknown architecture ['mlp generator']"),
        ('{"architecture": "mlp generator"}', "generator.json: mlp generator needs the options ['channels', "),
        ('{"architecture": "mlp generator", "options": 3}', "generator.json: mlp generator needs the options ['channels', "),
        ('{"architecture": "mlp generator", "options": {"width": 3}}', "'latent_size'], the file has ['width']"),
        (
            json.dumps({"architecture": "mlp generator", "options": {**OPTIONS, "dropout": 0.1}}),
            "'image_size', 'latent_size'], the file has ['channels', 'class_count', 'conditioning', 'dropout'",
        ),
        (
            json.dumps({"architecture": "mlp generator", "options": {**OPTIONS, "latent_size": "x"}}),
            "generator.json: mlp generator cannot be built from {'latent_size': 'x'",
        ),
        (
            json.dumps({"architecture": "mlp generator", "options": {**OPTIONS, "latent_size": -9}}),
            "generator.json: mlp generator cannot be built from {'latent_size': -9",
        ),
        (
            json.dumps({"architecture": "mlp generator", "options": {**OPTIONS, "hidden_sizes": [16, 25]}}),
            "generator.safetensors does not fit",
        ),
        (json.dumps(pair("dcgan")[0].description), "generator.safetensors does not fit"),
        (json.dumps(pair()[1].description), "generator.safetensors does not fit"),
    ],
)  # fmt: skip
def test_a_wrong_description_is_refused_and_its_file_named(text: str, message: str, tmp_path: Path) -> None:
    save_network(pair()[0], tmp_path, "generator")
    (tmp_path / "generator.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError) as caught:
        load_generator(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "generator.") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["generator.json", "generator.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    save_network(pair()[0], tmp_path, "generator")
    (tmp_path / name).unlink()
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/{name} is missing; .* generator\.json with generator\.safetensors$"
    ):
        load_generator(tmp_path)


def test_corrupt_weights_are_refused(tmp_path: Path) -> None:
    save_network(pair()[0], tmp_path, "generator")
    path = tmp_path / "generator.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", b"not a file", whole[:-1], whole + b"x", b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"^{path} is corrupt: "):
            load_generator(tmp_path)


@pytest.mark.parametrize("change", ["less", "more", "shape"])
def test_weights_of_another_network_are_refused(change: str, tmp_path: Path) -> None:
    network = pair()[0]
    save_network(network, tmp_path, "generator")
    weights = network.state_dict()
    if change == "less":
        del weights["layers.0.bias"]
    else:
        weights["layers.0.bias" if change == "shape" else "extra"] = torch.zeros(2)
    path = tmp_path / "generator.safetensors"
    save_file(weights, path)
    with pytest.raises(UserError, match=rf"^{path} does not fit {tmp_path}/generator\.json: .*(layers\.0\.bias|extra)"):
        load_generator(tmp_path)


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    save_network(pair()[1], tmp_path, "generator")
    with pytest.raises(UserError, match=r"generator\.json describes a MlpDiscriminator, where a generator is needed$"):
        load_generator(tmp_path)
    save_network(pair()[1], tmp_path, "classifier")
    with pytest.raises(
        UserError, match=r"classifier\.json describes a MlpDiscriminator, where a classifier is needed$"
    ):
        load_classifier(tmp_path)
