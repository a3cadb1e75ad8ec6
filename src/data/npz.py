"""Arrays in an npz file, written while they are made."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from ..core.files import replacing


def save_npz(path: Path, rows: int, arrays: Mapping[str, Iterable[np.ndarray]]) -> None:
    """Write what ``numpy.savez_compressed`` would, holding one part of one array at a time.

    Each array comes in parts, (some, ...), that have ``rows`` rows together; there is at least one. The same parts give
    the same bytes. Raises ValueError when there are more or fewer rows; then nothing is at ``path``.
    """
    with replacing(path) as part:
        try:
            _write(part, rows, arrays)
        except ValueError as error:
            # Ctrl-C between the opening of a member and its block: the archive's own complaint would hide it.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise


def _write(path: Path, rows: int, arrays: Mapping[str, Iterable[np.ndarray]]) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, parts in arrays.items():
            # ZipInfo's own date is 1980; the size is not known yet, and may be above 4 GiB.
            member = ZipInfo(f"{name}.npy")
            member.compress_type = ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                written = 0
                for some in parts:
                    if not written:
                        header = {"shape": (rows, *some.shape[1:]), "fortran_order": False}
                        npy.write_array_header_1_0(file, {**header, "descr": npy.dtype_to_descr(some.dtype)})
                    file.write(np.ascontiguousarray(some).data)
                    written += len(some)
                if written != rows:
                    raise ValueError(f"{name} has {written} rows, not {rows}")
