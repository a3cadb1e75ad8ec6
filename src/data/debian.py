"""Fashion-MNIST out of a Debian or Ubuntu package, without root and without naming a server."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..core.progress import transfer_progress
from .info import IdxFile
from .transfer import TIMEOUT_SECONDS, SourceError, from_folder

PACKAGE = "dataset-fashion-mnist"
PACKAGED_FOLDER = Path("usr/share/datasets/fashion-mnist")
STALL_SECONDS = 60


def from_package(files: Sequence[IdxFile], destination: Path, root: Path = Path("/")) -> None:
    """Copy the files out of the package: the one installed under ``root``, else one downloaded for the moment.

    Raises SourceError when apt-get or dpkg-deb is missing or fails, or a file is not as it should be.
    """
    if (root / PACKAGED_FOLDER).is_dir():
        return from_folder(root / PACKAGED_FOLDER, files, destination)
    try:
        with TemporaryDirectory(prefix=f"{PACKAGE}-") as temporary:
            work = Path(temporary)
            _run(["dpkg-deb", "-x", str(_download(work)), str(work / "tree")])
            from_folder(work / "tree" / PACKAGED_FOLDER, files, destination)
    except OSError as error:  # what is wrong with the destination is a UserError already
        raise SourceError(f"no room in the temporary folder: {error.strerror or error}") from None


def _download(work: Path) -> Path:
    options = [f"Acquire::{scheme}::Timeout={TIMEOUT_SECONDS}" for scheme in ("http", "https")]
    # As root, apt drops to a user who may not enter our temporary folder, and complains.
    options += ["Acquire::Retries=0", "APT::Sandbox::User=root"]
    reasons = []
    try:
        return _apt_download(work / "system", options)
    except SourceError as error:
        reasons.append(str(error))
    # The machine's package lists are empty (a fresh container) or stale; private ones need no root.
    private = work / "private"
    for folder in ("lists/partial", "cache/archives/partial"):
        (private / folder).mkdir(parents=True)
    options += [f"Dir::State::Lists={private / 'lists'}", f"Dir::Cache={private / 'cache'}"]
    try:
        _run(_apt_get([*options, "APT::Update::Error-Mode=any"], "update"))
    except SourceError as error:  # of several archives one may fail: no matter, if another has the package
        reasons.append(str(error))
    try:
        return _apt_download(work / "updated", options)
    except SourceError as error:
        reasons.append(str(error))
    raise SourceError("; ".join(dict.fromkeys(reasons)))


def _apt_get(options: list[str], *command: str) -> list[str]:
    return ["apt-get", "-q", *(word for option in options for word in ("-o", option)), *command]


def _apt_download(folder: Path, options: list[str]) -> Path:
    """Download the package into a new ``folder`` and return the file's path."""
    folder.mkdir()
    listing = _run(_apt_get(options, "download", "--print-uris", PACKAGE))
    # One line: 'URI' NAME SIZE HASH
    fields = listing.split()
    total = int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else None
    with transfer_progress(f"Debian package {PACKAGE}", total) as advance:
        arrived = 0
        last_growth = time.monotonic()
        with _start(_apt_get(options, "download", PACKAGE), folder) as process:
            try:
                running = True
                while running:
                    running = process.poll() is None  # asked first, so that the last look sees the whole file
                    size = _size(folder)
                    if size != arrived:
                        last_growth = time.monotonic()
                    advance(size - arrived)
                    arrived = size
                    if time.monotonic() - last_growth > STALL_SECONDS:
                        raise SourceError(f"apt-get brought nothing for {STALL_SECONDS} seconds")
                    time.sleep(0.1 if running else 0)
            finally:
                process.kill()
            errors = process.communicate()[1]
            _check("apt-get", process.returncode, errors)
    packages = list(folder.glob("*.deb"))
    if len(packages) != 1:
        raise SourceError(f"apt-get left {len(packages)} packages where 1 is due")
    return packages[0]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # apt renames its files while we look
            continue
    return total


def _run(command: list[str]) -> str:
    with _start(command) as process:
        output, errors = process.communicate()
    _check(command[0], process.returncode, errors)
    return output


def _start(command: list[str], folder: Path | None = None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise SourceError(f"{command[0]} is not installed") from None
    except OSError as error:
        raise SourceError(f"{command[0]} cannot be run ({error.strerror})") from None


def _check(program: str, status: int, errors: str) -> None:
    if status:
        # apt puts its reasons behind "E:", the first of them being the cause of the others.
        lines = errors.splitlines()
        reason = next((line for line in lines if line.startswith("E:")), lines[0] if lines else f"exit status {status}")
        raise SourceError(f"{program}: {reason.removeprefix('E:').strip()}")
