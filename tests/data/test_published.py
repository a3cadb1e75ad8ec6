"""MNIST, Kuzushiji-MNIST and CIFAR-10 by torchvision's own download, from a loopback server with small files of that format."""

import gzip
import hashlib
import io
import socket
import tarfile
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch

from src.config.params import Data
from src.core.errors import UserError
from src.data import published as module
from src.data import sources
from src.data.info import CIFAR10_ARCHIVE, IDX_ARCHIVES, dataset_info
from src.data.published import Published, fetch_published, published
from src.data.readers import CIFAR10_RECORD, read_raw
from src.data.sources import fetch

from .conftest import TinyFiles, Web, send


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def archives(tiny: TinyFiles) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in tiny.content.items()}


def source(archives: dict[str, bytes], *mirrors: str) -> Published:
    return Published(mirrors, {name: md5(content) for name, content in archives.items()})


def serve(web: Web, mirror: str, archives: dict[str, bytes]) -> str:
    for name, content in archives.items():
        web.answers[f"/{mirror}/{name}"] = lambda handler, content=content: send(handler, content)  # type: ignore[misc]
    return f"{web.url}/{mirror}/"


def fetched(archives: dict[str, bytes], raw: Path, *mirrors: str, folder: Path | None = None) -> str:
    return fetch_published(dataset_info("mnist"), source(archives, *mirrors), folder or raw.parent, raw)


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar10"])
def test_torchvision_says_where_they_are_and_what_their_md5_is(name: str) -> None:
    found = published(name)
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in found.mirrors)
    assert found.archives.keys() == set((CIFAR10_ARCHIVE,) if name == "cifar10" else IDX_ARCHIVES)
    assert all(len(one) == 32 for one in found.archives.values())
    assert dataset_info(name).files == tuple(f"{name}-{one}" for one in found.archives)


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_a_dataset_arrives_and_is_read_with_its_official_split(
    name: str, archives: dict[str, bytes], web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mirror = serve(web, "good", archives)
    monkeypatch.setattr(sources, "published", lambda asked: source(archives, mirror) if asked == name else None)
    raw = tmp_path / "raw"
    fetch(Data(dataset=name, folder=str(tmp_path)), raw)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"verified; source: 4 of 4 files from mirror {mirror}")
    assert sorted(path.name for path in raw.iterdir()) == sorted(f"{name}-{one}" for one in IDX_ARCHIVES)
    found = read_raw(name, raw)
    assert found.images.shape == (80, 1, 4, 4)
    assert found.labels.tolist() == [*range(10)] * 8
    assert int(found.official_test.sum()) == 20
    assert len(found.info.class_names) == 10
    # The other dataset has files of the same names, and is not taken for it.
    other = "kmnist" if name == "mnist" else "mnist"
    with pytest.raises(UserError, match=rf"raw holds {name}, but params\.yaml says data\.dataset: {other}"):
        read_raw(other, raw)
    web.requests.clear()
    fetch(Data(dataset=name, folder=str(tmp_path)), raw)  # type: ignore[arg-type]
    assert web.requests == []
    assert "4 of 4 files already there" in capsys.readouterr().out


def test_cifar10_is_read_from_its_archive_without_pickle(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    records = torch.randint(0, 256, (30, CIFAR10_RECORD), generator=generator, dtype=torch.uint8)
    records[:, 0] = torch.arange(30) % 10
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, part in zip(names, records.chunk(6), strict=True):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = part.numel()
            archive.addfile(member, io.BytesIO(part.numpy().tobytes()))
    content = {CIFAR10_ARCHIVE: buffer.getvalue()}
    mirror = serve(web, "good", content)
    monkeypatch.setattr(sources, "published", lambda _: source(content, mirror))
    fetch(Data(dataset="cifar10", folder=str(tmp_path)), tmp_path / "raw")
    found = read_raw("cifar10", tmp_path / "raw")
    assert found.images.shape == (30, 3, 32, 32)
    assert torch.equal(found.images.flatten(1), records[:, 1:])
    assert found.labels.tolist() == [*range(10)] * 3
    assert found.official_test.tolist() == [False] * 25 + [True] * 5
    path = tmp_path / "raw" / f"cifar10-{CIFAR10_ARCHIVE}"
    for damaged in (b"no archive", buffer.getvalue()[:500]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz: corrupt"):
            read_raw("cifar10", tmp_path / "raw")


def test_a_wrong_checksum_is_refused_and_the_next_mirror_asked(
    archives: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    name = IDX_ARCHIVES[0]
    bad = serve(web, "bad", {**archives, name: archives[name][:-1] + b"x"})
    with pytest.raises(UserError) as caught:
        fetched(archives, tmp_path / "raw", bad)
    assert f"mirror {bad}: {name}: File not found or corrupted." in str(caught.value)
    assert "no source of MNIST answered" in str(caught.value)
    assert not list((tmp_path / "raw").glob("*"))
    used = fetched(archives, tmp_path / "raw", bad, serve(web, "good", archives))
    assert used.startswith("1 of 4 files from mirror")
    assert "3 of 4 files from mirror" in used
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == {
        f"mnist-{name}": content for name, content in archives.items()
    }


def test_a_transfer_that_breaks_off_leaves_nothing(archives: dict[str, bytes], web: Web, tmp_path: Path) -> None:
    name = IDX_ARCHIVES[1]
    mirror = serve(web, "cut", archives)
    web.answers[f"/cut/{name}"] = lambda handler: send(handler, archives[name][:20], announced=len(archives[name]))
    with pytest.raises(UserError, match=rf"mirror .*/cut/: {name}: "):
        fetched(archives, tmp_path / "raw", mirror)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [f"mnist-{IDX_ARCHIVES[0]}"]


def test_redirects_are_followed(archives: dict[str, bytes], web: Web, tmp_path: Path) -> None:
    good = serve(web, "good", archives)

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", good + handler.path.rsplit("/", 1)[1])
        handler.end_headers()

    web.answers.update({f"/moved/{name}": redirect for name in archives})
    assert fetched(archives, tmp_path / "raw", f"{web.url}/moved/") == f"4 of 4 files from mirror {web.url}/moved/"


def test_a_dead_and_a_silent_server_are_given_up(
    archives: dict[str, bytes], web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    web.answers[f"/slow/{IDX_ARCHIVES[0]}"] = lambda handler: time.sleep(1)
    with pytest.raises(UserError) as caught:
        fetched(archives, tmp_path / "raw", dead, f"{web.url}/slow/", f"{web.url}/nothing/")
    message = str(caught.value)
    assert f"mirror {dead}: {IDX_ARCHIVES[0]}: Connection refused" in message
    assert f"mirror {web.url}/slow/: {IDX_ARCHIVES[0]}: " in message
    assert f"mirror {web.url}/nothing/: {IDX_ARCHIVES[0]}: HTTP status 404" in message
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("damage", [False, True])
def test_a_local_folder_serves_when_no_mirror_does(archives: dict[str, bytes], tmp_path: Path, damage: bool) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in archives.items():
        (folder / name).write_bytes(content[:-1] if damage else content)
    if not damage:
        assert fetched(archives, tmp_path / "raw", folder=folder) == f"4 of 4 files from folder {folder}"
        return
    with pytest.raises(UserError, match="wrong content \\(its MD5 is not the published one\\)"):
        fetched(archives, tmp_path / "raw", folder=folder)


def test_when_all_fail_the_ways_out_are_named(archives: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetched(archives, tmp_path / "raw")
    for way in (
        f"folder {tmp_path}: {IDX_ARCHIVES[0]} is not there",
        "put train-images",
        "data.folder",
        "data.dataset: digits",
    ):
        assert way in str(caught.value)
