"""Fetch the raw files of a dataset: sources are tried in order, and every byte is verified."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..config.params import Data
from ..core.errors import UserError
from ..core.files import replacing
from .debian import PACKAGE, from_package
from .info import CIFAR10, DATASETS, DIGITS_FILE, FASHION_MNIST_FILES, RawFile, dataset_info
from .own import save_own
from .transfer import SourceError, from_folder, from_mirror, is_right

Source = tuple[str, Callable[[Sequence[RawFile], Path], None]]


def fetch(data: Data, destination: Path) -> None:
    """Put the raw files of ``data.dataset`` into ``destination``; names and bytes are the same from any source.

    Published datasets come from torchvision's mirrors, the local ``data.folder``, or (fashion-mnist) a Debian package; digits
    from scikit-learn; folder from the images of ``data.folder``. Files that are present and right are kept; those of other
    datasets are removed from ``destination``. Prints a line with the source. Raises UserError if ``data.folder`` does not
    exist, if no source has a file (with every reason), or if ``destination`` cannot be written.
    """
    info = dataset_info(data.dataset)
    local = Path(data.folder).expanduser()
    if data.dataset != "digits" and not local.is_dir():
        raise UserError(f"params.yaml: data.folder: {data.folder} is not a folder; it must exist, but may be empty")
    match data.dataset:
        case "folder":
            used = save_own(data, destination)
        case "digits":
            _save_digits(destination / DIGITS_FILE)
            used = "scikit-learn, no download"
        case _:
            used = _fetch_published(data.dataset, info.title, local, destination)
    _remove_others(data.dataset, destination)
    print(f"{info.title}: in {destination}, verified; source: {used}")


def published(dataset: str) -> tuple[Sequence[str], Sequence[RawFile]]:
    """The mirrors and files of a published dataset, as torchvision has them."""
    from torchvision import datasets

    if dataset == "cifar10":
        return (datasets.CIFAR10.url.rpartition("/")[0],), (CIFAR10,)
    source = {"fashion-mnist": datasets.FashionMNIST, "mnist": datasets.MNIST, "kmnist": datasets.KMNIST}[dataset]
    if dataset == "fashion-mnist":
        return source.mirrors, FASHION_MNIST_FILES
    files = [RawFile(f"{dataset}-{name}", md5, "md5", published_as=name) for name, md5 in source.resources]
    return source.mirrors, files


def _fetch_published(dataset: str, title: str, folder: Path, destination: Path) -> str:
    """Fetch what is missing; returns which source provided how many files."""
    mirrors, files = published(dataset)
    missing = _missing(files, destination)
    used = [f"{len(files) - len(missing)} of {len(files)} files already there"] if len(missing) < len(files) else []
    reasons = []
    for name, bring in _sources(dataset, mirrors, folder) if missing else ():
        try:
            bring(missing, destination)
        except SourceError as error:  # a source is left at its first error: a dead server would be asked for every file
            reasons.append(f"  - {name}: {error}")
        before, missing = len(missing), _missing(missing, destination)
        if len(missing) < before:
            used.append(f"{before - len(missing)} of {len(files)} files from {name}")
        if not missing:
            return ", ".join(used)
    if missing:
        names = ", ".join(file.archive for file in files)
        package = f"  - install the Debian or Ubuntu package {PACKAGE}"
        raise UserError(
            "\n".join(
                [
                    f"no source of {title} could be used:",
                    *reasons,
                    "Do one of these and try again:",
                    f"  - put {names} into a folder, and set data.folder in params.yaml to it",
                    *([package] if dataset == "fashion-mnist" else []),
                    "  - set data.dataset: digits in params.yaml, which needs no download",
                ]
            )
        )
    return ", ".join(used)


def _missing(files: Sequence[RawFile], destination: Path) -> list[RawFile]:
    return [file for file in files if not is_right(file, destination / file.name)]


def _sources(dataset: str, mirrors: Sequence[str], folder: Path) -> Iterator[Source]:
    """The name of each source, in order, and the function that copies files from it into a folder."""
    for mirror in mirrors:
        yield f"mirror {mirror}", partial(from_mirror, mirror)
    yield f"folder {folder}", partial(from_folder, folder)
    if dataset == "fashion-mnist":
        yield f"Debian package {PACKAGE}", from_package


def _save_digits(path: Path) -> None:
    import torch
    from safetensors.torch import save
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)
    with replacing(path) as part:
        part.write_bytes(save({"images": images.unsqueeze(1), "labels": torch.from_numpy(digits.target).long()}))


def _remove_others(dataset: str, destination: Path) -> None:
    """Remove the files of other datasets, which only DVC would do, and parts that a killed process has left."""
    for info in DATASETS.values():
        for name in info.files:
            for part in destination.glob(f"{name}.*.part"):
                part.unlink(missing_ok=True)
            if info.name != dataset:
                (destination / name).unlink(missing_ok=True)
