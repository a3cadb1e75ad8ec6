"""Bring a dataset's raw files into a folder: the first source that answers wins, and every byte is verified."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..config.params import Data
from ..core.errors import UserError
from ..core.files import replacing
from .debian import PACKAGE, from_package
from .info import DATASETS, DIGITS_FILE, FASHION_MNIST_FILES, IdxFile, dataset_info
from .own import save_own
from .published import fetch_published, published
from .transfer import SourceError, from_folder, from_mirror, is_right, no_source


def fetch(
    data: Data,
    destination: Path,
    mirrors: Sequence[str] | None = None,
    files: Sequence[IdxFile] = FASHION_MNIST_FILES,
) -> None:
    """Put the raw files of ``data.dataset`` into ``destination``, under the same names with the same bytes from any source.

    fashion-mnist: the four IDX files, decompressed, from the first that has them of ``mirrors`` (None: torchvision's
    own list), the local ``data.folder``, and a Debian package. mnist, kmnist and cifar10: the archives, from torchvision's
    mirrors or ``data.folder``. digits: one safetensors file made from scikit-learn's copy, no network. folder: the images of
    ``data.folder``. Files that are there and right are kept; what another dataset left in ``destination`` is removed. Prints
    one line with the source. Raises UserError when ``data.folder`` does not exist, when no source answers (with every reason),
    or when ``destination`` cannot be written.
    """
    info = dataset_info(data.dataset)
    local = Path(data.folder).expanduser()
    if data.dataset != "digits" and not local.is_dir():
        raise UserError(f"params.yaml: data.folder: {data.folder} is not a folder; it must be one, if an empty one")
    match data.dataset:
        case "folder":
            used = save_own(data, destination)
        case "digits":
            _save_digits(destination / DIGITS_FILE)
            used = "scikit-learn, no download"
        case "fashion-mnist":
            used = _fetch_files(files, mirrors, local, destination)
        case name:
            used = fetch_published(info, published(name), local, destination)
    _remove_strays(data.dataset, destination)
    print(f"{info.title}: in {destination}, verified; source: {used}")


def _fetch_files(files: Sequence[IdxFile], mirrors: Sequence[str] | None, folder: Path, destination: Path) -> str:
    """Fetch what is missing and return which source gave how many files."""
    missing = _missing(files, destination)
    used = [f"{len(files) - len(missing)} of {len(files)} files already there"] if len(missing) < len(files) else []
    reasons = []
    for name, bring in _sources(mirrors, folder) if missing else ():
        try:
            bring(missing, destination)
        except SourceError as error:  # the source is left alone from here on: a dead server would fail four times
            reasons.append(f"{name}: {error}")
        before, missing = len(missing), _missing(missing, destination)
        if len(missing) < before:
            used.append(f"{before - len(missing)} of {len(files)} files from {name}")
        if not missing:
            break
    if missing:
        names = f"{', '.join(file.name for file in files)} (as they are, or .gz)"
        raise UserError(no_source("Fashion-MNIST", reasons, names, f"install the Debian or Ubuntu package {PACKAGE}"))
    return ", ".join(used)


def _missing(files: Sequence[IdxFile], destination: Path) -> list[IdxFile]:
    return [file for file in files if not is_right(file, destination / file.name)]


def _sources(
    mirrors: Sequence[str] | None, folder: Path
) -> Iterator[tuple[str, Callable[[Sequence[IdxFile], Path], None]]]:
    """Name each source and give the function that brings files from it to a folder, in the order to try them."""
    if mirrors is None:
        from torchvision.datasets import FashionMNIST

        mirrors = FashionMNIST.mirrors
    for mirror in mirrors:
        yield f"mirror {mirror}", partial(from_mirror, mirror)
    yield f"folder {folder}", partial(from_folder, folder)
    yield f"Debian package {PACKAGE}", from_package


def _save_digits(path: Path) -> None:
    import torch
    from safetensors.torch import save
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)
    with replacing(path) as part:
        part.write_bytes(save({"images": images.unsqueeze(1), "labels": torch.from_numpy(digits.target).long()}))


def _remove_strays(dataset: str, destination: Path) -> None:
    # Without DVC nothing empties the folder when data.dataset changes, and the next stage could not tell which it is;
    # a killed run leaves its part behind.
    for info in DATASETS.values():
        for name in info.files:
            (destination / f"{name}.part").unlink(missing_ok=True)
            if info.name != dataset:
                (destination / name).unlink(missing_ok=True)
