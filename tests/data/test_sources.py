import gzip
import socket
import time
import urllib.request
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
from src.data.sources import fetch

from .conftest import TinyFiles, Web, send

FIRST = "train-images-idx3-ubyte"
DIGITS = Data(dataset="digits", folder="not/looked/at")


@pytest.fixture(autouse=True)
def _no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sources, "from_package", partial(from_package, root=tmp_path / "no-root"))


def fetch_tiny(tiny: TinyFiles, destination: Path, mirrors: list[str], folder: Path | None = None) -> None:
    fetch(Data(folder=str(folder or Path(__file__).parent)), destination, mirrors, tiny.table)


def test_a_good_mirror_gives_all_files(
    tiny: TinyFiles, web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = web.serve("good", tiny.content)
    fetch_tiny(tiny, tmp_path / "raw", [mirror])
    tiny.check(tmp_path / "raw")
    assert web.requests == [f"/good/{file.name}.gz" for file in tiny.table]
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert f"4 of 4 files from mirror {mirror}" in out
    assert f"fetched {FIRST}.gz" in err


def test_right_files_are_kept_and_wrong_ones_fetched_again(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    mirror = web.serve("good", tiny.content)
    raw = tiny.write(tmp_path / "raw")
    before = (raw / FIRST).stat().st_mtime_ns
    fetch_tiny(tiny, raw, [mirror])
    assert web.requests == []
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\0" * tiny.table[3].size)
    fetch_tiny(tiny, raw, [mirror])
    assert web.requests == ["/good/t10k-labels-idx1-ubyte.gz"]
    assert (raw / FIRST).stat().st_mtime_ns == before
    tiny.check(raw)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "wrong content"),
        (lambda data: data[:-5], "971 bytes where 976 are due"),
        (lambda data: data + b"more", "longer than the 976 bytes"),
        (lambda data: b"", "0 bytes where 976 are due"),
    ],
)
def test_wrong_content_is_refused_and_the_second_mirror_asked(
    tiny: TinyFiles, web: Web, tmp_path: Path, damage: Any, reason: str
) -> None:
    bad = web.serve("bad", {**tiny.content, FIRST: damage(tiny.content[FIRST])})
    with pytest.raises(UserError, match=reason):
        fetch_tiny(tiny, tmp_path / "failed", [bad])
    assert list((tmp_path / "failed").iterdir()) == []
    fetch_tiny(tiny, tmp_path / "raw", [bad, web.serve("good", tiny.content)])
    tiny.check(tmp_path / "raw")


def test_a_transfer_that_breaks_off_leaves_nothing(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    mirror = web.serve("cut", tiny.content)
    body = gzip.compress(tiny.content["t10k-images-idx3-ubyte"])
    web.answers["/cut/t10k-images-idx3-ubyte.gz"] = lambda handler: send(handler, body[:100], announced=len(body))
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte: Compressed file ended"):
        fetch_tiny(tiny, tmp_path / "raw", [mirror])
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [FIRST, "train-labels-idx1-ubyte"]
    fetch_tiny(tiny, tmp_path / "raw", [web.serve("good", tiny.content)])
    assert web.requests[-2:] == ["/good/t10k-images-idx3-ubyte.gz", "/good/t10k-labels-idx1-ubyte.gz"]
    tiny.check(tmp_path / "raw")


def test_damaged_compression_is_a_reason(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    mirror = web.serve("bad", dict.fromkeys(tiny.content, b"\x1f\x8b" + b"no gzip at all"), compress=False)
    with pytest.raises(UserError, match=f"mirror {mirror}: {FIRST}: "):
        fetch_tiny(tiny, tmp_path / "raw", [mirror])


def test_redirects_are_followed(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    good = web.serve("good", tiny.content)

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", good + handler.path.rsplit("/", 1)[1])
        handler.end_headers()

    web.answers.update({f"/moved/{name}.gz": redirect for name in tiny.content})
    fetch_tiny(tiny, tmp_path / "raw", [f"{web.url}/moved"])
    tiny.check(tmp_path / "raw")


def test_files_that_a_proxy_decompressed_are_taken(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    fetch_tiny(tiny, tmp_path / "raw", [web.serve("plain", tiny.content, compress=False)])
    tiny.check(tmp_path / "raw")


def test_a_dead_server_is_asked_once(
    tiny: TinyFiles, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    asked = []
    urlopen = urllib.request.urlopen

    def counted(url: str, timeout: float) -> Any:
        asked.append(url)
        return urlopen(url, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", counted)
    fetch_tiny(tiny, tmp_path / "raw", [dead, web.serve("good", tiny.content)])
    assert [url for url in asked if url.startswith(dead)] == [f"{dead}{FIRST}.gz"]
    assert len(asked) == 5
    tiny.check(tmp_path / "raw")


def test_a_silent_server_is_given_up(
    tiny: TinyFiles, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    web.answers[f"/slow/{FIRST}.gz"] = lambda handler: time.sleep(0.5)
    with pytest.raises(UserError, match=r"no answer within 0\.1 seconds"):
        fetch_tiny(tiny, tmp_path / "raw", [f"{web.url}/slow"])


@pytest.mark.parametrize("compress", [False, True])
def test_a_local_folder_serves_when_the_mirror_does_not(
    tiny: TinyFiles, web: Web, tmp_path: Path, compress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write(tmp_path / "mine", compress)
    fetch_tiny(tiny, tmp_path / "raw", [f"{web.url}/nothing"], folder)
    tiny.check(tmp_path / "raw")
    assert f"4 of 4 files from folder {folder}" in capsys.readouterr().out


def test_several_sources_can_share_the_work(
    tiny: TinyFiles, web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = web.serve("half", {name: tiny.content[name] for name in list(tiny.content)[:3]})
    fetch_tiny(tiny, tmp_path / "raw", [mirror], tiny.write(tmp_path / "mine"))
    tiny.check(tmp_path / "raw")
    assert f"3 of 4 files from mirror {mirror}, 1 of 4 files from folder" in capsys.readouterr().out


def test_when_all_fail_the_message_lists_every_source_and_the_ways_out(
    tiny: TinyFiles, web: Web, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError) as caught:
        fetch_tiny(tiny, tmp_path / "raw", [f"{web.url}/a", "http://[broken/"], tmp_path / "mine")
    message = str(caught.value)
    assert f"mirror {web.url}/a: {FIRST}.gz: HTTP status 404 (Not Found)" in message
    assert "mirror http://[broken/: " in message
    assert f"folder {tmp_path / 'mine'}: neither {FIRST} nor {FIRST}.gz is there" in message
    assert "Debian package dataset-fashion-mnist: apt-get is not installed" in message
    for way in ("data.folder", "install the Debian or Ubuntu package", "data.dataset: digits"):
        assert way in message


def test_a_folder_that_is_not_there_is_refused_before_any_request(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: data\.folder: .*absent is not a folder"):
        fetch_tiny(tiny, tmp_path / "raw", [web.serve("good", tiny.content)], tmp_path / "absent")
    assert web.requests == []
    assert not (tmp_path / "raw").exists()


def test_a_destination_that_cannot_be_written_is_named(tiny: TinyFiles, web: Web, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where a folder is due")
    with pytest.raises(UserError, match=r"raw/train-images-idx3-ubyte cannot be written"):
        fetch_tiny(tiny, tmp_path / "raw", [web.serve("good", tiny.content)])


def test_digits_need_no_source_and_replace_another_dataset(tiny: TinyFiles, tmp_path: Path) -> None:
    raw = tiny.write(tmp_path / "raw")
    (raw / ".gitignore").touch()
    (raw / "train-images-idx3-ubyte.part").touch()  # as a killed run leaves it
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
