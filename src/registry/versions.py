"""Registered generators: finds, checks and loads versions without running code from them."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..config.params import FAMILIES
from ..core.errors import UserError
from ..core.files import read_json
from ..networks.saved import parameter_count, saved_hash
from ..tracking import store
from . import facts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from ..networks.interface import Generator

CANDIDATE, CHAMPION = "candidate", "champion"
GENERATOR = "generator"
CARD, CARD_FOLDER = "card.json", "card"
FILES_TAG = "files.sha256"
DOWNLOAD_NOTE = "registered_model_meta"
MOVED = "if the project was moved, `python -m src.doctor --fix` updates the paths in its store"


@dataclass(frozen=True)
class StoredGenerator:
    """A generator that was loaded from the registry or from a folder."""

    network: "Generator"
    class_names: tuple[str, ...]
    name: str
    """its name, for example ``gan-fashion-mnist/3``"""


@dataclass(frozen=True)
class StoredFacts:
    """Facts about a registered generator that are read without loading it."""

    class_names: tuple[str, ...]
    parameters: int


def split_reference(reference: str) -> tuple[str, str, str]:
    """``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION`` as (name, kind, value); the kind is ``alias`` or ``version``.

    A bare name means its champion. Raises UserError for anything else.
    """
    reference = reference.removeprefix("models:/")
    sign, kind = ("/", "version") if "/" in reference else ("@", "alias")
    name, found, value = reference.partition(sign)
    value = value if found else CHAMPION
    if not name or not value or (kind == "version" and not value.isdecimal()):
        raise UserError(
            f"{reference!r} is not a model: write NAME@ALIAS or NAME/VERSION, for example gan-fashion-mnist@champion"
        )
    return name, kind, value


def find_version(client: "MlflowClient", reference: str) -> "ModelVersion":
    """The version of a reference. Raises UserError that lists what exists if the name, alias or version is unknown."""
    from mlflow.exceptions import MlflowException

    name, kind, value = split_reference(reference)
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        known = [model.name for model in models(client)]
        raise UserError(
            f"the registry at {store.where()} has no model {name!r}; it has {', '.join(known) or 'none yet'}"
        ) from None
    number = aliases_of(client, name).get(value) if kind == "alias" else value
    try:
        return client.get_model_version(name, str(int(number))) if number else _unknown(client, model, value, kind)
    except MlflowException:
        return _unknown(client, model, value, kind)


def _unknown(client: "MlflowClient", model: Any, value: str, kind: str) -> "ModelVersion":
    there = [f"{model.name}@{alias}" for alias in sorted(model.aliases)]
    there += [called(version) for version in versions_of(client, model.name)]
    raise UserError(f"{model.name} has no {kind} {value!r}; it has {', '.join(there) or 'no version yet'}")


def called(version: "ModelVersion") -> str:
    """NAME/VERSION."""
    return f"{version.name}/{version.version}"


def aliases_of(client: "MlflowClient", name: str) -> dict[str, str]:
    """The aliases of a registered model with their versions as text (some stores return numbers)."""
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def own_aliases(client: "MlflowClient", name: str) -> dict[str, list[str]]:
    """The aliases of each version, in order."""
    found: dict[str, list[str]] = {}
    for alias, number in sorted(aliases_of(client, name).items()):
        found.setdefault(number, []).append(alias)
    return found


def models(client: "MlflowClient") -> Iterator["RegisteredModel"]:
    """Every registered model of this project; a server may hold others, too."""
    token = None
    while token != "":
        page = client.search_registered_models(page_token=token)
        yield from (model for model in page if "dataset" in model.tags)
        token = page.token or ""


def versions_of(client: "MlflowClient", name: str) -> list["ModelVersion"]:
    """All versions of a registered model, the newest first."""
    found = client.search_model_versions(f"name = '{name}'")
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def check_version(client: "MlflowClient", version: "ModelVersion") -> StoredFacts:
    """Check that a version's files are those registered, without importing PyTorch.

    Raises UserError if files are missing or differ from those registered, or if the file of a custom family is missing.
    """
    name = called(version)
    with TemporaryDirectory() as folder:
        files = _download(f"models:/{name}", folder, name)
        extra = files / "extra_files"
        digest, parameters = saved_hash(extra, GENERATOR), parameter_count(extra, GENERATOR)
        facts = StoredFacts(_class_names(extra), parameters)
        _check_files(client, version, files)
        check_family(read_json(extra / f"{GENERATOR}.json"), name)
    _check_generator(version, digest)
    return facts


def load_version(client: "MlflowClient", version: "ModelVersion") -> StoredGenerator:
    """Load a version's architecture (JSON) and weights (safetensors), and verify their hash.

    Raises UserError if files are missing or differ from those that were registered.
    """
    from ..networks.weights import content_hash

    name = called(version)
    with TemporaryDirectory() as folder:
        files = _download(f"models:/{name}", folder, name)
        stored = load_folder(files / "extra_files", name)  # which reports missing files
        _check_files(client, version, files)
    _check_generator(version, content_hash(stored.network))
    return stored


def check_family(description: dict[str, Any], name: str) -> None:
    """Raise UserError if a network is of a custom family whose file is missing."""
    family = str(description["architecture"]).rpartition(" ")[0]
    file = Path(*family.split(".")[:-1]).with_suffix(".py") if "." in family else None
    if family not in FAMILIES and file is not None and not file.is_file():
        raise UserError(f"{name}: its family {family} is missing: {file} is not in {Path.cwd()}")


def _check_generator(version: "ModelVersion", digest: str) -> None:
    if digest != version.tags.get("generator.hash"):
        raise UserError(
            f"{called(version)} differs from what was registered: the hash of its files is not that of its tag generator.hash"
        )


def fetch(client: "MlflowClient", version: "ModelVersion", folder: str) -> Path:
    """Copy all files of a version into ``folder``. Raises UserError if they are missing or differ from those registered."""
    name = called(version)
    files = _download(f"models:/{name}", folder, name)
    _check_files(client, version, files)
    return files


def _check_files(client: "MlflowClient", version: "ModelVersion", files: Path) -> None:
    for compiled in list(files.rglob("__pycache__")):  # left by code imported from the store itself
        shutil.rmtree(compiled)
    registered = facts.facts(client, version).get(FILES_TAG)
    if registered and files_hash(files) != registered:
        raise UserError(
            f"{called(version)} differs from what was registered: the hash of its files is not that of its tag {FILES_TAG}"
        )


def _download(uri: str, folder: str, name: str) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        files = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"the files of {name} cannot be read: {' '.join(str(error).split())}; {MOVED}") from None
    if not (files / "extra_files").is_dir():  # MLflow treats a missing folder as empty
        raise UserError(f"the files of {name} are missing; {MOVED}")
    return files


def files_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in a model's folder, except the one that MLflow adds on download."""
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
        if name != DOWNLOAD_NOTE
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_folder(folder: Path, name: str) -> StoredGenerator:
    """Load ``generator.json``, ``generator.safetensors`` and ``card.json`` from a folder."""
    from ..networks.description import load_generator

    network = load_generator(folder)
    return StoredGenerator(network, _class_names(folder), name)


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(read_json(folder / CARD, None, "class_names")["class_names"])


def find_generator(client: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    """The newest version of a registered model that holds the generator with this hash."""
    return next((one for one in versions_of(client, name) if one.tags.get("generator.hash") == digest), None)


def check_dataset(client: "MlflowClient", model_name: str, dataset: str) -> None:
    """Raise UserError if a registered model holds generators of another dataset."""
    for model in client.search_registered_models(f"name = '{model_name}'"):
        if model.tags.get("dataset", dataset) != dataset:
            raise UserError(
                f"register.model_name: {model_name!r} holds generators of {model.tags['dataset']}, this one is of {dataset}; "
                "choose another name in params.yaml"
            )
