"""Sources of raw files, with loopback servers and small files in the formats of the datasets."""

import gzip
import hashlib
import io
import socket
import tarfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from src.config.params import Data
from src.core.errors import UserError
from src.data import sources, transfer
from src.data.debian import from_package
from src.data.info import CIFAR10, FASHION_MNIST_FILES, RawFile, dataset_info
from src.data.readers import CIFAR10_RECORD, read_raw
from src.data.sources import fetch, published

from .conftest import TinyFiles, Web, send

FIRST = "train-images-idx3-ubyte"
DIGITS = Data(dataset="digits", folder="not/looked/at")


@pytest.fixture(autouse=True)
def _no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sources, "from_package", partial(from_package, root=tmp_path / "no-root"))


@pytest.fixture
def get(tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fetches the tiny files, or others, into a folder."""

    def run(
        destination: Path,
        *mirrors: str,
        folder: Path | None = None,
        files: Sequence[RawFile] = tiny.table,
        dataset: Any = "fashion-mnist",
    ) -> None:
        monkeypatch.setattr(sources, "published", lambda name: (mirrors, files) if name == dataset else None)
        fetch(Data(dataset=dataset, folder=str(folder or Path(__file__).parent)), destination)

    return run


def redirect(handler: BaseHTTPRequestHandler, place: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", place + handler.path.rsplit("/", 1)[1])
    handler.end_headers()


def test_a_good_mirror_gives_all_files_also_behind_a_redirect(
    tiny: TinyFiles, web: Web, tmp_path: Path, get: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good = web.serve("good", tiny.content)
    get(tmp_path / "raw", good)
    tiny.check(tmp_path / "raw")
    assert web.requests == [f"/good/{file.name}.gz" for file in tiny.table]
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert f"4 of 4 files from mirror {good}" in out
    assert f"fetched {FIRST}.gz" in err
    web.answers |= {f"/moved/{file.archive}": partial(redirect, place=good) for file in tiny.table}
    get(tmp_path / "moved", f"{web.url}/moved")
    tiny.check(tmp_path / "moved")


def test_right_files_are_kept_and_wrong_ones_fetched_again(tiny: TinyFiles, web: Web, tmp_path: Path, get: Any) -> None:
    mirror = web.serve("good", tiny.content)
    raw = tiny.write(tmp_path / "raw")
    before = (raw / FIRST).stat().st_mtime_ns
    get(raw, mirror)
    assert web.requests == []
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\0" * len(tiny.content["t10k-labels-idx1-ubyte"]))
    get(raw, mirror)
    assert web.requests == ["/good/t10k-labels-idx1-ubyte.gz"]
    assert (raw / FIRST).stat().st_mtime_ns == before
    tiny.check(raw)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: gzip.compress(data[:-1] + bytes([data[-1] ^ 1])), r"wrong content \(SHA256 mismatch\)"),
        (lambda data: gzip.compress(data[:-5]), "971 bytes instead of 976"),
        (lambda data: gzip.compress(data + b"more"), "longer than the expected 976 bytes"),
        (lambda data: gzip.compress(data)[:100], "the compressed file is truncated"),
        (lambda data: b"", "0 bytes instead of 976"),
        (lambda data: b"\x1f\x8b" + b"no gzip at all", f"mirror .*: {FIRST}: Error -3"),
    ],
)
def test_wrong_content_is_refused_and_the_second_mirror_asked(
    tiny: TinyFiles, web: Web, tmp_path: Path, get: Any, damage: Any, reason: str
) -> None:
    bad = web.serve("bad", tiny.content)
    body = damage(tiny.content[FIRST])
    web.answers[f"/bad/{FIRST}.gz"] = lambda handler: send(handler, body, announced=max(len(body), 100))
    with pytest.raises(UserError, match=reason):
        get(tmp_path / "failed", bad)
    assert list((tmp_path / "failed").iterdir()) == []
    get(tmp_path / "raw", bad, web.serve("good", tiny.content))
    tiny.check(tmp_path / "raw")


def test_what_has_arrived_before_an_error_is_kept(tiny: TinyFiles, web: Web, tmp_path: Path, get: Any) -> None:
    mirror = web.serve("half", {name: tiny.content[name] for name in list(tiny.content)[:2]})
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz: HTTP status 404"):
        get(tmp_path / "raw", mirror)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [FIRST, "train-labels-idx1-ubyte"]
    get(tmp_path / "raw", web.serve("good", tiny.content))
    assert web.requests[-2:] == ["/good/t10k-images-idx3-ubyte.gz", "/good/t10k-labels-idx1-ubyte.gz"]
    tiny.check(tmp_path / "raw")


def test_files_that_a_proxy_decompressed_are_taken(tiny: TinyFiles, web: Web, tmp_path: Path, get: Any) -> None:
    get(tmp_path / "raw", web.serve("plain", tiny.content, compress=False))
    tiny.check(tmp_path / "raw")


def test_a_dead_and_a_silent_server_are_asked_once(
    tiny: TinyFiles, web: Web, tmp_path: Path, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    asked = []
    urlopen = urllib.request.urlopen

    def counted(request: urllib.request.Request, timeout: float) -> Any:
        asked.append(request.full_url)
        return urlopen(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", counted)
    web.answers[f"/slow/{FIRST}.gz"] = lambda handler: time.sleep(0.5)
    with pytest.raises(UserError) as caught:
        get(tmp_path / "raw", dead, f"{web.url}/slow")
    assert f"mirror {dead}: {FIRST}.gz: Connection refused" in str(caught.value)
    assert f"mirror {web.url}/slow: {FIRST}.gz: no answer within 0.1 seconds" in str(caught.value)
    get(tmp_path / "raw", dead, web.serve("good", tiny.content))
    assert [url for url in asked if url.startswith(dead)] == [f"{dead}{FIRST}.gz"] * 2
    assert len(asked) == 3 + 4
    tiny.check(tmp_path / "raw")


@pytest.mark.parametrize("compress", [False, True])
def test_a_local_folder_serves_when_the_mirror_does_not(
    tiny: TinyFiles, web: Web, tmp_path: Path, get: Any, compress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write(tmp_path / "mine", compress)
    get(tmp_path / "raw", f"{web.url}/nothing", folder=folder)
    tiny.check(tmp_path / "raw")
    assert f"4 of 4 files from folder {folder}" in capsys.readouterr().out
    mirror = web.serve("half", {name: tiny.content[name] for name in list(tiny.content)[:3]})
    get(tmp_path / "shared", mirror, folder=folder)
    tiny.check(tmp_path / "shared")
    assert f"3 of 4 files from mirror {mirror}, 1 of 4 files from folder" in capsys.readouterr().out


def test_when_all_fail_the_message_lists_every_source_and_the_ways_out(web: Web, tmp_path: Path, get: Any) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError) as caught:
        get(tmp_path / "raw", f"{web.url}/a", "http://[broken/", folder=tmp_path / "mine")
    for part in (
        "no source of Fashion-MNIST could be used",
        f"mirror {web.url}/a: {FIRST}.gz: HTTP status 404 (Not Found)",
        "mirror http://[broken/: ",
        f"folder {tmp_path / 'mine'}: it has neither {FIRST} nor {FIRST}.gz",
        "Debian package dataset-fashion-mnist: apt-get cannot be run: No such file",
        *("data.folder", "install the Debian or Ubuntu package", "data.dataset: digits"),
    ):
        assert part in str(caught.value)


def test_a_folder_or_destination_that_cannot_be_used(tiny: TinyFiles, web: Web, tmp_path: Path, get: Any) -> None:
    mirror = web.serve("good", tiny.content)
    with pytest.raises(UserError, match=r"params\.yaml: data\.folder: .*absent is not a folder"):
        get(tmp_path / "raw", mirror, folder=tmp_path / "absent")
    assert web.requests == []
    assert not (tmp_path / "raw").exists()
    (tmp_path / "raw").write_text("a file instead of a folder")
    with pytest.raises(UserError, match=r"raw/train-images-idx3-ubyte cannot be written"):
        get(tmp_path / "raw", mirror)


def test_digits_need_no_source_and_replace_another_dataset(tiny: TinyFiles, tmp_path: Path) -> None:
    raw = tiny.write(tmp_path / "raw")
    (raw / ".gitignore").touch()
    (raw / "train-images-idx3-ubyte.123.part").touch()  # as a killed run leaves it
    fetch(DIGITS, raw)
    assert sorted(path.name for path in raw.iterdir()) == [".gitignore", "digits.safetensors"]
    first = (raw / "digits.safetensors").read_bytes()
    fetch(DIGITS, raw)
    assert (raw / "digits.safetensors").read_bytes() == first
    tensors = load_file(raw / "digits.safetensors")
    assert tensors["images"].shape == (1797, 1, 8, 8)
    assert tensors["images"].dtype == torch.uint8
    assert (int(tensors["images"].min()), int(tensors["images"].max())) == (0, 255)
    # The first image of the set is a 0, whose first row is 0 0 5 13 9 1 0 0 of 16.
    assert tensors["images"][0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert tensors["labels"].dtype == torch.int64
    assert tensors["labels"][:10].tolist() == list(range(10))


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "kmnist", "cifar10"])
def test_torchvision_knows_the_mirrors_and_the_files(name: str) -> None:
    mirrors, files = published(name)
    assert mirrors
    assert all(mirror.startswith("http") for mirror in mirrors)
    assert dataset_info(name).files == tuple(file.name for file in files)
    assert all(len(file.digest) == (64 if file.algorithm == "sha256" else 32) for file in files)
    if name != "cifar10":
        assert [file.archive for file in files] == [file.archive for file in FASHION_MNIST_FILES]


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_archives_are_kept_as_published_and_read_with_their_official_split(
    name: str, tiny: TinyFiles, web: Web, tmp_path: Path, get: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = {f"{one}.gz": gzip.compress(content, mtime=0) for one, content in tiny.content.items()}
    files = [
        RawFile(f"{name}-{one}", hashlib.md5(body).hexdigest(), "md5", published_as=one)
        for one, body in archives.items()
    ]
    raw, mirror = tmp_path / "raw", web.serve("good", tiny.content)
    web.answers |= {f"/good/{one}": partial(send, body=body) for one, body in archives.items()}
    bad = web.serve("bad", {})
    web.answers |= {f"/bad/{one}": partial(send, body=body[:-1] + b"x") for one, body in archives.items()}
    with pytest.raises(UserError, match=r"wrong content \(MD5 mismatch\)"):
        get(raw, bad, files=files, dataset=name)
    get(raw, bad, mirror, files=files, dataset=name)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"verified; source: 4 of 4 files from mirror {mirror}")
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == {
        f"{name}-{one}": body for one, body in archives.items()
    }
    found = read_raw(name, raw)
    assert found.images.shape == (80, 1, 4, 4)
    assert found.labels.tolist() == [*range(10)] * 8
    assert int(found.official_test.sum()) == 20
    assert len(found.info.class_names) == 10
    # The other dataset has files of the same names, and is told apart.
    other = "kmnist" if name == "mnist" else "mnist"
    with pytest.raises(UserError, match=rf"raw has {name}, but params\.yaml has data\.dataset: {other}"):
        read_raw(other, raw)
    web.requests.clear()
    get(raw, mirror, files=files, dataset=name)
    assert web.requests == []
    assert "4 of 4 files already there" in capsys.readouterr().out


def test_cifar10_is_read_from_its_archive_without_pickle(web: Web, tmp_path: Path, get: Any) -> None:
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
    body = buffer.getvalue()
    web.answers[f"/good/{CIFAR10.archive}"] = partial(send, body=body)
    file = replace(CIFAR10, digest=hashlib.md5(body).hexdigest())
    get(tmp_path / "raw", f"{web.url}/good", files=[file], dataset="cifar10")
    found = read_raw("cifar10", tmp_path / "raw")
    assert found.images.shape == (30, 3, 32, 32)
    assert torch.equal(found.images.flatten(1), records[:, 1:])
    assert found.labels.tolist() == [*range(10)] * 3
    assert found.official_test.tolist() == [False] * 25 + [True] * 5
    for damaged in (b"no archive", body[:500]):
        (tmp_path / "raw" / file.name).write_bytes(damaged)
        with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz is corrupt"):
            read_raw("cifar10", tmp_path / "raw")
