"""Datasets as their authors have published them, fetched and checked by torchvision: MNIST, Kuzushiji-MNIST, CIFAR-10."""

import http.client
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..core.errors import UserError
from ..core.files import replacing
from .info import CIFAR10_ARCHIVE, DatasetInfo, raw_names
from .transfer import TIMEOUT_SECONDS, explain, no_source

CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
"""as its author gives it; torchvision takes the archive with pickles, which only running code can read"""


@dataclass(frozen=True)
class Published:
    """Where a dataset's archives are, and the MD5 of each by name."""

    mirrors: tuple[str, ...]
    archives: dict[str, str]


def published(dataset: str) -> Published:
    """What torchvision knows of mnist, kmnist or cifar10."""
    from torchvision import datasets

    if dataset == "cifar10":
        return Published((datasets.CIFAR10.url.rpartition("/")[0] + "/",), {CIFAR10_ARCHIVE: CIFAR10_MD5})
    source = {"mnist": datasets.MNIST, "kmnist": datasets.KMNIST}[dataset]
    return Published(tuple(source.mirrors), dict(source.resources))


def fetch_published(info: DatasetInfo, source: Published, folder: Path, destination: Path) -> str:
    """Put each archive into ``destination`` unless it is there and right; returns where they came from.

    Asked are the mirrors in turn, and then a local ``folder``. Raises UserError, with every reason, when none has an
    archive with the right MD5.
    """
    from torchvision.datasets.utils import check_integrity

    used: dict[str, int] = {}
    for (name, md5), raw_name in zip(source.archives.items(), raw_names(info.name, source.archives), strict=True):
        if check_integrity(str(destination / raw_name), md5):
            used["already there"] = used.get("already there", 0) + 1
            continue
        reasons: list[str] = []
        with TemporaryDirectory(prefix=f"{info.name}-") as temporary:
            for place, path in _attempts(source.mirrors, folder, name, md5, Path(temporary), reasons):
                with replacing(destination / raw_name) as part:
                    shutil.copyfile(path, part)
                used[f"from {place}"] = used.get(f"from {place}", 0) + 1
                break
            else:
                raise UserError(no_source(info.title, reasons, ", ".join(source.archives)))
    return ", ".join(f"{count} of {len(source.archives)} files {place}" for place, count in used.items())


def _attempts(
    mirrors: tuple[str, ...], folder: Path, name: str, md5: str, temporary: Path, reasons: list[str]
) -> Iterator[tuple[str, Path]]:
    """The sources that have the archive, each with a file whose MD5 is right; why others have not goes into ``reasons``."""
    from torchvision.datasets.utils import check_integrity, download_url

    for mirror in mirrors:
        try:
            with _timeout(TIMEOUT_SECONDS):
                download_url(f"{mirror}{name}", str(temporary), name, md5)
            yield f"mirror {mirror}", temporary / name
        except (RuntimeError, OSError, EOFError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"mirror {mirror}: {name}: {explain(error)}")
    if check_integrity(str(folder / name), md5):
        yield f"folder {folder}", folder / name
    elif (folder / name).is_file():
        reasons.append(f"folder {folder}: {name}: wrong content (its MD5 is not the published one)")
    else:
        reasons.append(f"folder {folder}: {name} is not there")


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """torchvision asks for no timeout of its own, so that a silent server would be waited for without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
