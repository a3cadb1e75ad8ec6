"""Copy one file from a stream, a folder or a web server, decompressed and verified."""

import gzip
import hashlib
import http.client
import io
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from ..core.files import replacing
from ..core.progress import transfer_progress
from .info import IdxFile

TIMEOUT_SECONDS = 20
READ_ERRORS = (OSError, EOFError, zlib.error, http.client.HTTPException, ValueError)


class SourceError(Exception):
    """Why one source could not give a file; the next source is tried."""


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


class _CountingReader(io.RawIOBase):
    """Pass a stream through and report every read: the bytes on the wire, before decompression."""

    def __init__(self, stream: _Readable, advance: Callable[[int], None]) -> None:
        self._stream = stream
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._stream.readinto(buffer)
        self._advance(count)
        return count


def _decompressed_chunks(stream: io.BufferedReader, name: str) -> Iterator[bytes]:
    # Sniffed, not read off the name: some web servers and proxies decompress .gz files on the way.
    try:
        content: BinaryIO | gzip.GzipFile = stream
        if stream.peek(2)[:2] == b"\x1f\x8b":
            content = gzip.GzipFile(fileobj=stream)
        while chunk := content.read(1 << 18):
            yield chunk
    except READ_ERRORS as error:
        raise SourceError(f"{name}: {explain(error)}") from None


def save_verified(file: IdxFile, stream: io.BufferedReader, destination: Path) -> None:
    """Write a raw or gzipped stream to ``destination/file.name``, decompressed, if size and SHA-256 are right.

    Raises SourceError when the stream breaks or the content is another, UserError when the disk refuses.
    """
    digest = hashlib.sha256()
    size = 0
    with replacing(destination / file.name) as part:
        with part.open("wb") as output:
            for chunk in _decompressed_chunks(stream, file.name):
                size += len(chunk)
                if size > file.size:
                    raise SourceError(f"{file.name}: longer than the {file.size:,} bytes that are due")
                digest.update(chunk)
                output.write(chunk)
        if size != file.size:
            raise SourceError(f"{file.name}: {size:,} bytes where {file.size:,} are due")
        if digest.hexdigest() != file.sha256:
            raise SourceError(f"{file.name}: wrong content (its SHA-256 is not the official one)")


def is_right(file: IdxFile, path: Path) -> bool:
    """Whether ``path`` already holds exactly this file's content."""
    try:
        if path.stat().st_size != file.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    except OSError:
        return False


def from_mirror(mirror: str, files: Iterable[IdxFile], destination: Path) -> None:
    """Fetch ``mirror/NAME.gz`` over HTTP(S) for each file. Raises SourceError at the first that fails."""
    for file in files:
        url = f"{mirror.rstrip('/')}/{file.name}.gz"
        try:
            response = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
        except READ_ERRORS as error:
            raise SourceError(f"{file.name}.gz: {explain(error)}") from None
        with response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            with transfer_progress(f"{file.name}.gz", total) as advance:
                save_verified(file, io.BufferedReader(_CountingReader(response, advance), 1 << 16), destination)


def from_folder(folder: Path, files: Iterable[IdxFile], destination: Path) -> None:
    """Copy each file out of a local folder, as it is or ``.gz``. Raises SourceError at the first that fails."""
    for file in files:
        candidates = [path for path in (folder / file.name, folder / f"{file.name}.gz") if path.is_file()]
        if not candidates:
            raise SourceError(f"neither {file.name} nor {file.name}.gz is there")
        try:
            stream = candidates[0].open("rb")
        except OSError as error:
            raise SourceError(f"{candidates[0].name}: {explain(error)}") from None
        with stream:
            save_verified(file, stream, destination)


def no_source(title: str, reasons: Iterable[str], files: str, *remedies: str) -> str:
    """What to say of a dataset that cannot be had: every reason, and what to do. ``files`` are those to put into a folder."""
    return "\n".join(
        [
            f"no source of {title} answered:",
            *(f"  - {reason}" for reason in reasons),
            "Do one of these and run it again:",
            f"  - put {files} into a folder and name it as data.folder in params.yaml",
            *(f"  - {remedy}" for remedy in remedies),
            "  - set data.dataset: digits in params.yaml, which needs no download",
        ]
    )


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
