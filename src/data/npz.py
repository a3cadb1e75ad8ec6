"""Write arrays to an npz file in parts, at constant memory."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from ..core.files import replacing


def save_npz(path: Path, rows: int, arrays: Mapping[str, Iterable[np.ndarray]]) -> None:
    """Write what ``numpy.savez_compressed`` would write, with one part of one array in memory at a time.

    The parts of an array, at least one, have ``rows`` rows in all. The same parts give the same bytes. Raises ValueError for
    another number of rows; then ``path`` is not written.
    """
    with replacing(path) as part:
        try:
            _write(part, rows, arrays)
        except ValueError as error:
            # Ctrl-C while a member is open makes the archive raise a ValueError, which would hide it.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise


def _write(path: Path, rows: int, arrays: Mapping[str, Iterable[np.ndarray]]) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, parts in arrays.items():
            # The default date of ZipInfo is constant; the size is unknown, and may exceed 4 GiB.
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
