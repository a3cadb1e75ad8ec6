"""Fashion-MNIST from a Debian or Ubuntu package, without root and without naming a server."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .info import RawFile
from .transfer import TIMEOUT_SECONDS, SourceError, from_folder

PACKAGE = "dataset-fashion-mnist"
PACKAGED_FOLDER = Path("usr/share/datasets/fashion-mnist")
STANDARD_ERROR = 2


def from_package(files: Sequence[RawFile], destination: Path, root: Path = Path("/")) -> None:
    """Copy the files from the package installed under ``root``, or from one that is downloaded temporarily.

    Raises SourceError if apt-get or dpkg-deb is missing or fails, or a file has the wrong content.
    """
    if (root / PACKAGED_FOLDER).is_dir():
        return from_folder(root / PACKAGED_FOLDER, files, destination)
    try:
        with TemporaryDirectory(prefix=f"{PACKAGE}-") as temporary:
            work = Path(temporary)
            run(["dpkg-deb", "-x", str(_download(work)), str(work / "tree")])
            from_folder(work / "tree" / PACKAGED_FOLDER, files, destination)
    except OSError as error:  # errors of the destination are UserErrors already
        raise SourceError(f"the temporary folder cannot be written: {error.strerror or error}") from None


def _download(work: Path) -> Path:
    """The package, downloaded into ``work``: by the machine's package lists, or else by private, current ones.

    The machine's lists may be empty (a fresh container) or stale, and updating them takes root.
    """
    private = work / "private"
    for folder in ("lists/partial", "cache/archives/partial"):
        (private / folder).mkdir(parents=True)
    own = [f"Dir::State::Lists={private / 'lists'}", f"Dir::Cache={private / 'cache'}"]
    download = ("download", PACKAGE)
    reasons = []
    # `update` may fail for one of several archives, while another has the package.
    for options, command in (([], download), ([*own, "APT::Update::Error-Mode=any"], ("update",)), (own, download)):
        try:
            run(apt_get(options, *command), work)
        except SourceError as error:
            reasons.append(str(error))
            continue
        if packages := list(work.glob("*.deb")):
            return packages[0]
    raise SourceError("; ".join(dict.fromkeys(reasons)) or f"apt-get has not saved {PACKAGE}")


def apt_get(options: Sequence[str], *command: str) -> list[str]:
    """An apt-get command that gives up on a server after ``TIMEOUT_SECONDS`` without data."""
    timeouts = [f"Acquire::{scheme}::Timeout={TIMEOUT_SECONDS}" for scheme in ("http", "https")]
    # Run by root, apt changes to a user who has no access to the temporary folder.
    given = (*timeouts, "Acquire::Retries=0", "APT::Sandbox::User=root", *options)
    return ["apt-get", *(word for option in given for word in ("-o", option)), *command]


def run(command: Sequence[str], folder: Path | None = None) -> None:
    """Run a program, its output to standard error. Raises SourceError, with the program's own reason, if it fails."""
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=STANDARD_ERROR,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SourceError(f"{command[0]} cannot be run: {error.strerror}") from None
    if ended.returncode:
        # apt marks its reasons with "E:"; the first one is the cause of the others.
        lines = [*ended.stderr.splitlines(), f"exit status {ended.returncode}"]
        reason = next((line for line in lines if line.startswith("E:")), lines[0])
        raise SourceError(f"{command[0]}: {reason.removeprefix('E:').strip()}")
