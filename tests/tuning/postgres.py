"""A PostgreSQL server for the tests: the installed one, else one unpacked from Debian's packages without root."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from src.data.debian import apt_get

LOG = "server.log"
# No socket file: below a long folder its path could be longer than allowed. JIT would load LLVM, which is not unpacked.
OPTIONS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100 -c fsync=off -c jit=off"


class Unavailable(RuntimeError):
    """Why no server can be had here, in one sentence."""


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Start a server under ``folder``, yield the URL of its empty database for SQLAlchemy, stop the server.

    Only its log stays there. As root, the server runs as another user, who may not enter pytest's folders: then its
    files lie in a folder of its own under /tmp until the end. Raises Unavailable when there is none to be had.
    """
    root = os.geteuid() == 0
    home = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp" if root else folder))
    try:
        with _server(home, **(_give_away(home) if root else {})) as url:
            yield url
    finally:
        with suppress(FileNotFoundError):
            shutil.copyfile(home / LOG, folder / LOG)
        shutil.rmtree(home, ignore_errors=True)


def connect(url: str) -> psycopg.Connection:
    """Connect to the database of SQLAlchemy's ``url``; every statement is its own transaction."""
    return psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)


def create_database(url: str, name: str) -> str:
    """Make another empty database on the server of ``url``, and return its URL."""
    with connect(url) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def _server(home: Path, **identity: Any) -> Iterator[str]:
    programs = _installed() or _unpacked(home / "packages")
    libraries = [str(path) for path in home.glob("packages/tree/**/lib/*-linux-*")]
    environment = {"LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")])}

    def run(program: str, *arguments: str) -> None:
        _run([str(programs / program), "-D", str(home / "data"), *arguments], home, environment, **identity)

    run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        try:
            run("pg_ctl", "start", "-w", "-t", "60", "-l", str(home / LOG), "-o", f"{OPTIONS} -c port={port}")
        except Unavailable as error:
            lines = (home / LOG).read_text(errors="replace").splitlines() if (home / LOG).exists() else []
            # The very last line only says that the server is down; the one before that was fatal says why.
            reasons = [line for line in lines if "FATAL:" in line] or lines or [str(error)]
            raise Unavailable(f"the PostgreSQL server does not start: {reasons[-1]}") from None
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        with suppress(Unavailable):  # it never started, or died
            run("pg_ctl", "stop", "-w", "-m", "immediate")


def _installed() -> Path | None:
    """The folder of the installed programs: those on the PATH, else the newest of Debian's."""
    found = shutil.which("postgres")
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    folders = [*([Path(found).resolve().parent] if found else []), *newest_first]
    return next((folder for folder in folders if all((folder / name).exists() for name in ("initdb", "pg_ctl"))), None)


def _unpacked(folder: Path) -> Path:
    """The folder of the programs out of Debian's packages, which are unpacked to ``folder/tree``."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    options = ["APT::Install-Recommends=false"]
    try:
        _download(folder, options)
    except Unavailable:  # the machine's package lists are empty or stale; private ones need no root
        options += [f"Dir::State::Lists={folder / 'lists'}", f"Dir::Cache={folder / 'cache'}"]
        reason = None
        try:
            _run(apt_get([*options, "APT::Update::Error-Mode=any"], "update"), folder)
        except Unavailable as error:  # of several archives one may fail: no matter, if another has the packages
            reason = error
        try:
            _download(folder, options)
        except Unavailable as error:
            raise reason or error from None
    for package in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder / "tree")], folder)
    return next(folder.glob("tree/usr/lib/postgresql/*/bin"))


def _download(folder: Path, options: list[str]) -> None:
    """Download the server that the package ``postgresql`` stands for, and the libraries of it that are missing."""
    depends = _run(["apt-cache", *apt_get(options, "depends", "postgresql")[1:]], folder)
    server = re.search(r"Depends: (postgresql-\d+)$", depends, re.MULTILINE)
    if server is None:
        raise Unavailable("no PostgreSQL server: apt knows of none")
    plan = _run(apt_get(options, "--simulate", "install", server[1]), folder)
    libraries = re.findall(r"^Inst (lib(?!llvm|perl)\S+)", plan, re.MULTILINE)
    _run(apt_get(options, "download", server[1], *libraries), folder)


def _give_away(folder: Path) -> dict[str, Any]:
    """Give ``folder`` to a user who can run the server, as root cannot; returns who that is, for subprocess."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users.get("nobody")
    if user is None:
        raise Unavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
    with suppress(PermissionError):  # of a root without rights; then the server's programs say what is wrong
        os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None, **how: Any) -> str:
    """Run a program in ``folder`` and return what it printed; raise Unavailable when it fails."""
    how["env"] = {**os.environ, **(environment or {}), "LC_ALL": "C"}  # the words of apt are read
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, **how
        )
    except OSError as error:
        raise Unavailable(f"no PostgreSQL server: {command[0]} cannot be run ({error.strerror})") from None
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"no PostgreSQL server: {error}") from None
    if done.returncode:
        lines = [*done.stderr.splitlines(), f"exit status {done.returncode}"]
        reason = next((line for line in lines if line.startswith("E:")), lines[0])
        raise Unavailable(f"no PostgreSQL server: {Path(command[0]).name}: {reason.removeprefix('E:').strip()}")
    return done.stdout
