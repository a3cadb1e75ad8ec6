import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from src.core.errors import UserError
from src.networks.description import (
    build_pair,
    describe,
    load_architecture,
    load_classifier,
    load_generator,
    load_network,
    load_weights,
)
from src.networks.families.dcgan import DcganGenerator
from src.networks.families.mlp import Mlp, MlpGenerator
from src.networks.interface import Network
from src.networks.weights import content_hash, save_architecture, save_network, save_weights, weights_bytes
from tests.networks.tiny import PAIRS, classifier, pair

NETWORKS: dict[str, Callable[[], Network]] = {
    **{
        f"{family} {kind} ({conditioning})": partial(
            lambda *of, place: pair(*of)[place], family, conditioning, place=place
        )
        for family, conditioning in PAIRS
        for place, kind in enumerate(("generator", "discriminator"))
    },
    "limited discriminator (spectral norm)": lambda: pair("resnet", spectral_norm=True)[1],
    "conv classifier": classifier,
}


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_saved_network_comes_back_to_the_bit(architecture: str, tmp_path: Path) -> None:
    network = NETWORKS[architecture]()
    assert architecture.startswith((network.description["architecture"], "limited"))
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
    assert isinstance(second.start, nn.Linear)
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
    for family, conditioning in PAIRS:
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
        ("{", "generator.json is corrupt: "),
        ("\xff", "generator.json is corrupt: "),
        ("[]", "generator.json is corrupt: it is not a mapping"),
        ("{}", "generator.json: unknown architecture None; it must be conv classifier, FAMILY generator or "),
        ('{"architecture": "vae", "options": {}}', "generator.json: unknown architecture 'vae'; it must be conv classifier"),
        ('{"architecture": "vae generator", "options": {}}', "generator.json: unknown family 'vae' (it has no dot); allowed"),
        ('{"architecture": "os.path generator", "options": {}}', "generator.json: unknown family 'os.path' (os.py is not in"),
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
            "generator.json: layers.2.bias is (24,) in the file and (25,) in the network; layers.2.weight is (24, 16)",
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
    with pytest.raises(UserError, match=rf"^{tmp_path}/{name} is missing$"):
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


def test_the_architecture_alone_gives_fresh_weights_and_the_weights_alone_fill_them(tmp_path: Path) -> None:
    network = pair("dcgan", seed=1)[0]
    save_architecture(network, tmp_path / "some.json")
    save_weights(network, tmp_path / "some.safetensors")
    torch.manual_seed(7)
    fresh = load_architecture(tmp_path / "some.json")
    assert fresh.description == network.description
    assert weights_bytes(fresh) != weights_bytes(network)
    load_weights(fresh, tmp_path / "some.safetensors")
    assert content_hash(fresh) == content_hash(network)


def test_weights_for_a_changed_architecture_are_refused_with_every_difference(tmp_path: Path) -> None:
    save_weights(pair("dcgan", "projection")[0], tmp_path / "old.safetensors")
    changed = pair("dcgan", "batch_norm", channels=3)[0]
    before = weights_bytes(changed)
    with pytest.raises(UserError) as caught:
        load_weights(changed, tmp_path / "old.safetensors", "the new generator")
    file = tmp_path / "old.safetensors"
    assert str(caught.value).partition(": ")[0] == f"{file} does not fit the new generator"
    found = str(caught.value).partition(": ")[2].split("; ")
    assert len(found) == len(set(found))
    assert "layers.0.gain (3, 8) is not in the file" in found
    assert "layers.0.weight (8,) is only in the file" in found
    assert "start.weight is (32, 8) in the file and (32, 5) in the network" in found
    assert "layers.8.bias is (1,) in the file and (3,) in the network" in found
    same = {"layers.2.weight", "layers.5.weight"}  # convolutions inside
    assert {line.split()[0] for line in found} == (
        (changed.state_dict().keys() | pair("dcgan", "projection")[0].state_dict().keys()) - same
    )
    assert weights_bytes(changed) == before  # none of them was taken


@pytest.mark.parametrize("content", [None, b"no safetensors"])
def test_weights_that_are_not_there_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path} is (missing|corrupt)"):
        load_weights(pair()[0], path)
    with pytest.raises(UserError, match=r"some\.json is missing$"):
        load_architecture(tmp_path / "some.json")


def test_an_option_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(MlpGenerator):
        def __init__(self, *, latent_size: int, depth: int) -> None: ...

    monkeypatch.setattr(Mlp, "generator", Other)
    with pytest.raises(
        UserError, match=r"^model\.family: the mlp generator takes the unknown options depth; allowed are channels,"
    ):
        build_pair("mlp", **{**OPTIONS, "dropout": 0.0, "spectral_norm": False})
