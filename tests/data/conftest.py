import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.data.info import FASHION_MNIST_FILES, RawFile, dataset_info
from src.data.readers import RawImages


def idx_bytes(values: Tensor) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.numpy().tobytes()


@dataclass(frozen=True)
class TinyFiles:
    """Fashion-MNIST's four files in small: 60 train and 20 test images of 4x4, labels 0, 1, ... 9, 0, 1, ..."""

    content: Mapping[str, bytes]
    table: tuple[RawFile, ...]

    def write(self, folder: Path, compress: bool = False) -> Path:
        folder.mkdir(parents=True)
        for name, content in self.content.items():
            path = folder / (f"{name}.gz" if compress else name)
            path.write_bytes(gzip.compress(content) if compress else content)
        return folder

    def check(self, folder: Path) -> None:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == dict(self.content)


@pytest.fixture(scope="session")
def tiny() -> TinyFiles:
    generator = torch.Generator().manual_seed(0)
    content = {}
    for (images_file, labels_file), count in zip(
        (FASHION_MNIST_FILES[:2], FASHION_MNIST_FILES[2:]), (60, 20), strict=True
    ):
        images = torch.randint(0, 256, (count, 4, 4), generator=generator, dtype=torch.uint8)
        content[images_file.name] = idx_bytes(images)
        content[labels_file.name] = idx_bytes((torch.arange(count) % 10).to(torch.uint8))
    table = tuple(RawFile(name, hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in content.items())
    return TinyFiles(content, table)


@dataclass
class Web:
    """A loopback web server: ``answers`` by path; ``requests`` are the paths asked for."""

    url: str
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]]
    requests: list[str]

    def serve(self, mirror: str, files: Mapping[str, bytes], compress: bool = True) -> str:
        for name, content in files.items():
            body = gzip.compress(content) if compress else content
            self.answers[f"/{mirror}/{name}.gz"] = lambda handler, body=body: send(handler, body)  # type: ignore[misc]
        return f"{self.url}/{mirror}/"


def send(handler: BaseHTTPRequestHandler, body: bytes, announced: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if announced is None else announced))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def running_server() -> Iterator[Web]:
    web = Web("", {}, [])

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            web.requests.append(self.path)
            answer = web.answers.get(self.path)
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            yield web


@pytest.fixture
def web() -> Iterator[Web]:
    with running_server() as server:
        yield server


def numbered_images(per_class: int, official_test: int = 0) -> RawImages:
    """10 classes of 8x8 images, of which the first two pixels hold the image's own number."""
    count = 10 * per_class
    numbers = torch.arange(count)
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = (numbers // 256).to(torch.uint8)
    images[:, 0, 0, 1] = (numbers % 256).to(torch.uint8)
    return RawImages(dataset_info("digits"), images, numbers % 10, numbers >= count - official_test)


def numbers_of(images: Tensor) -> list[int]:
    pixels = images[:, 0, 0].long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()
