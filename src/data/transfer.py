"""Copy the files of a dataset from a web server or a folder, decompressed and verified."""

import hashlib
import http.client
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from ..core.files import replacing
from ..core.progress import transfer_progress
from .info import RawFile

TIMEOUT_SECONDS = 20
CHUNK = 1 << 16
"""bytes read at a time"""
GZIP, GZIP_MAGIC = 31, b"\x1f\x8b"
USER_AGENT = {"User-Agent": "pytorch/vision"}
"""some servers refuse that of Python; this is torchvision's"""
READ_ERRORS = (OSError, EOFError, zlib.error, http.client.HTTPException, ValueError)


class SourceError(Exception):
    """Why a source could not provide a file; the next source is tried."""


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def _contents(stream: Readable, name: str, advance: Callable[[int], object], *, unpack: bool) -> Iterator[bytes]:
    """The content of a stream, decompressed with ``unpack`` if it is gzipped. ``advance`` is told of the bytes read."""
    try:
        chunk = stream.read(CHUNK)
        # By content rather than by name: some web servers and proxies decompress .gz files.
        unpacker = zlib.decompressobj(GZIP) if unpack and chunk.startswith(GZIP_MAGIC) else None
        while chunk:
            advance(len(chunk))
            yield unpacker.decompress(chunk) if unpacker else chunk
            chunk = stream.read(CHUNK)
    except READ_ERRORS as error:
        raise SourceError(f"{name}: {explain(error)}") from None
    if unpacker and not unpacker.eof:
        raise SourceError(f"{name}: the compressed file is truncated")


def save_verified(
    file: RawFile, stream: Readable, destination: Path, advance: Callable[[int], object] = lambda _: None
) -> None:
    """Write a stream to ``destination/file.name`` if its content is right; a file that is not kept as .gz is decompressed.

    Raises SourceError if the stream breaks or has other content, UserError if the file cannot be written.
    """
    digest, size = hashlib.new(file.algorithm), 0
    with replacing(destination / file.name) as part:
        with part.open("wb") as output:
            for content in _contents(stream, file.name, advance, unpack=not file.name.endswith(".gz")):
                size += len(content)
                if file.size and size > file.size:
                    raise SourceError(f"{file.name}: longer than the expected {file.size:,} bytes")
                digest.update(content)
                output.write(content)
        if file.size and size != file.size:
            raise SourceError(f"{file.name}: {size:,} bytes instead of {file.size:,}")
        if digest.hexdigest() != file.digest:
            raise SourceError(f"{file.name}: wrong content ({file.algorithm.upper()} mismatch)")


def is_right(file: RawFile, path: Path) -> bool:
    """Whether ``path`` has exactly this file's content."""
    try:
        if file.size and path.stat().st_size != file.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, file.algorithm).hexdigest() == file.digest
    except OSError:
        return False


def from_mirror(mirror: str, files: Iterable[RawFile], destination: Path) -> None:
    """Fetch each file from a web server. Raises SourceError at the first that fails."""
    for file in files:
        try:
            request = urllib.request.Request(f"{mirror.rstrip('/')}/{file.archive}", headers=USER_AGENT)
            response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
        except READ_ERRORS as error:
            raise SourceError(f"{file.archive}: {explain(error)}") from None
        with response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            with transfer_progress(file.archive, total) as advance:
                save_verified(file, response, destination, advance)


def from_folder(folder: Path, files: Iterable[RawFile], destination: Path) -> None:
    """Copy each file from a local folder, gzipped or not. Raises SourceError at the first that fails."""
    for file in files:
        candidates = [path for path in (folder / file.name, folder / file.archive) if path.is_file()]
        if not candidates:
            raise SourceError(f"it has neither {file.name} nor {file.archive}")
        try:
            with candidates[0].open("rb") as stream:
                save_verified(file, stream, destination)
        except OSError as error:
            raise SourceError(f"{candidates[0].name}: {explain(error)}") from None


def explain(error: BaseException) -> str:
    """The reason inside an error, in as few words as it has."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS} seconds"
    if isinstance(error, urllib.request.HTTPError):
        return f"HTTP status {error.code} ({error.reason})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
