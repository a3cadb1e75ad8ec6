import os
from pathlib import Path

import pytest

from src.data.debian import PACKAGED_FOLDER, from_package
from src.data.transfer import SourceError

from .conftest import TinyFiles

APT_GET = """#!/bin/sh
echo "$*" >> '{here}/calls'
case "$*" in
  *' update') touch '{here}/updated' ;;
  *)
    [ -e '{here}/{needs}' ] || {{ echo 'W: some noise' >&2; echo 'E: Unable to locate package' >&2; exit 100; }}
    printf package > p.deb ;;
esac
"""
DPKG_DEB = """#!/bin/sh
[ "$1" = -x ] && [ "$(cat "$2")" = package ] || exit 2
mkdir -p "$3/{folder}" && cp '{files}'/* "$3/{folder}/"
"""


@pytest.fixture
def here(tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pretended apt-get and dpkg-deb, which are the first to be found."""
    tiny.write(tmp_path / "packaged", compress=True)
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin/dpkg-deb", DPKG_DEB.format(folder=PACKAGED_FOLDER, files=tmp_path / "packaged"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def calls(here: Path) -> list[str]:
    return [line.split()[-1] for line in (here / "calls").read_text().splitlines()]


def test_the_package_is_downloaded_and_unpacked(tiny: TinyFiles, here: Path) -> None:
    write_program(here / "bin/apt-get", APT_GET.format(here=here, needs="bin"))
    from_package(tiny.table, here / "raw", root=here)
    tiny.check(here / "raw")
    assert calls(here) == ["dataset-fashion-mnist"]


def test_an_unknown_package_is_looked_up_in_fresh_private_lists(tiny: TinyFiles, here: Path) -> None:
    write_program(here / "bin/apt-get", APT_GET.format(here=here, needs="updated"))
    from_package(tiny.table, here / "raw", root=here)
    tiny.check(here / "raw")
    assert calls(here) == ["dataset-fashion-mnist", "update", "dataset-fashion-mnist"]
    first, *private = (here / "calls").read_text().splitlines()
    assert "Dir::State::Lists" not in first
    assert all("-o Dir::State::Lists=" in line and "-o Dir::Cache=" in line for line in private)


def test_an_unknown_package_stays_unknown(tiny: TinyFiles, here: Path) -> None:
    write_program(here / "bin/apt-get", APT_GET.format(here=here, needs="never"))
    with pytest.raises(SourceError, match=r"^apt-get: Unable to locate package$"):
        from_package(tiny.table, here / "raw", root=here)


def test_an_installed_package_needs_no_program(
    tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    tiny.write(tmp_path / PACKAGED_FOLDER, compress=True)
    from_package(tiny.table, tmp_path / "raw", root=tmp_path)
    tiny.check(tmp_path / "raw")


def test_a_missing_program_is_the_reason(tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match=r"^apt-get cannot be run: No such file or directory$"):
        from_package(tiny.table, tmp_path / "raw", root=tmp_path)
