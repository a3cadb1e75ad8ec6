"""The project's application in this process, and real servers of the registered model: MLflow's command, and the project's."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

from src import sample, serve
from src.core.errors import UserError
from src.core.pixels import to_uint8
from src.networks.description import load_generator
from src.registry import versions
from src.sampling.draw import generate
from src.serving import server as serving
from src.tracking import store
from tests.conftest import Project, work_in

JSON = {"Content-Type": "application/json"}
MLFLOW = ("mlflow", "models", "serve", "-m", "models:/gan-digits@champion", "--env-manager", "local")
OURS = (sys.executable, "-m", "src.serve", "gan-digits@champion")


class Server:
    """A server on this machine, of this process or another one, and what it answers."""

    def __init__(self, port: int, number: int) -> None:
        """``number`` is the process's."""
        self.port, self.number = port, number

    def post(self, body: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and text; what is neither bytes nor an iterator of bytes is sent as JSON."""
        raw = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/invocations", raw, JSON if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def predictions(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        """What a good request is answered."""
        status, text = self.post(body, headers)
        assert status == 200, text
        return json.loads(text)["predictions"]

    def refusal(self, body: Any, headers: dict[str, str] | None = None, status: int = 400) -> str:
        """The sentence of a bad request's answer; afterwards the server must go on."""
        found, text = self.post(body, headers)
        assert found == status, text
        assert self.post({"inputs": [["9", 0]]})[0] == 200
        return str(json.loads(text)["message"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(project: Project, log: Path, *command: str) -> "Iterator[tuple[Server, subprocess.Popen[bytes]]]":
    """A server that has begun to answer, and its process, which ends with the context, and its children too."""
    port = free_port()
    environment = {**project.environment, "MLFLOW_TRACKING_URI": project.tracking_uri}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=project.folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        server, until = Server(port, process.pid), time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                if server.post({"inputs": [[0, 0]]})[0] == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield server, process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def app(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application that the processes of the project's server make, with the champion, in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.MonkeyPatch.context() as patch:
            work_in(project.folder, patch)
            version = versions.find_version(client := store.connect(), "gan-digits@champion")
            patch.setenv(serving.FOLDER, str(versions.fetch(client, version, str(tmp_path_factory.mktemp("served")))))
            server = uvicorn.Server(uvicorn.Config(serving.create_app(), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield Server(listening.getsockname()[1], os.getpid())
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def mlflow_server(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(project, tmp_path_factory.mktemp("mlflow") / "log", *MLFLOW) as (server, _):
        yield server


@pytest.fixture(scope="session")
def our_server(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(project, tmp_path_factory.mktemp("ours") / "log", *OURS) as (server, _):
        yield server


@pytest.fixture(
    params=["app", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mlflow_server", "our_server"))]
)
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["app", pytest.param("our_server", marks=pytest.mark.slow)])
def ours(request: pytest.FixtureRequest) -> Server:
    """As ``server``, without MLflow's own."""
    found: Server = request.getfixturevalue(request.param)
    return found


ROWS = [[9, 0], [3, 2**63 - 1], [0, 7]]
NAMED = [{"label": "9", "seed": 0}, {"label": 3, "seed": 2**63 - 1}, {"label": " 0", "seed": "7"}]
GOOD: dict[str, Any] = {
    "array": {"inputs": ROWS},
    "array of instances": {"instances": ROWS},
    "records": {"dataframe_records": NAMED},
    "split": {"dataframe_split": {"columns": ["seed", "label"], "data": [row[::-1] for row in ROWS]}},
    "columns": {"inputs": {"label": [9, "3", 0], "seed": [0, 2**63 - 1, 7]}},
    "list of rows": {"inputs": NAMED},
    "instances": {"instances": NAMED},
}


def expected(project: Project, rows: list[list[int]] = ROWS) -> torch.Tensor:
    labels, seeds = torch.tensor(rows).unbind(1)
    return generate(load_generator(project.folder / "models/gan"), labels, seeds)


def as_pixels(predictions: Any) -> torch.Tensor:
    return to_uint8(torch.tensor(predictions, dtype=torch.float32))


@pytest.mark.parametrize("form", GOOD)
def test_every_form_of_request_gives_the_pixels_of_generate(server: Server, project: Project, form: str) -> None:
    assert torch.equal(as_pixels(server.predictions(GOOD[form])), expected(project))


def test_csv(server: Server, project: Project) -> None:
    body = b"label,seed\n9,0\n3,9223372036854775807\n0,7\n"
    assert torch.equal(as_pixels(server.predictions(body, {"Content-Type": "text/csv"})), expected(project))


def test_png_are_the_images_that_sample_draws(server: Server, in_project: Project, tmp_path: Path) -> None:
    out = tmp_path / "nines.npz"
    sample.main(["--model", "gan-digits@champion", "--label", "9", "--count", "5", "--seed", "3", "--out", str(out)])
    with np.load(out) as content:
        drawn = content["images"]
    rows = [["9", 3 * 2**32 + number] for number in range(5)]
    pictures = server.predictions({"inputs": rows, "params": {"format": "png"}})
    assert server.predictions({"inputs": rows, "params": {"format": "png", "truncation": 0.5}}) != pictures
    alone = [server.predictions({"inputs": [row], "params": {"format": "png"}})[0] for row in rows]
    assert pictures == alone
    for text, image in zip(pictures, drawn, strict=True):
        assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(text)))), image)


def test_an_image_is_the_same_alone_and_in_a_batch_of_a_thousand(server: Server, project: Project) -> None:
    rows = [[number % 10, number] for number in range(1000)]
    together = as_pixels(server.predictions({"inputs": rows}))
    assert torch.equal(together, expected(project, rows))
    for number in (0, 99, 100, 999):
        assert torch.equal(as_pixels(server.predictions({"inputs": [rows[number]]}))[0], together[number])


CLASSES = "is not a class of this model; it has 0 0, 1 1, 2 2, 3 3, 4 4, 5 5, 6 6, 7 7, 8 8, 9 9"
WHOLE = "is not a whole number from 0 to 9223372036854775807"
ONE = {"label": 9, "seed": 0}
BAD: list[tuple[Any, str]] = [
    ({"inputs": [["shoe", 0]]}, f"label 'shoe' {CLASSES}"),
    ({"dataframe_records": [ONE, {"label": 10, "seed": 0}]}, f"row 1: label 10 {CLASSES}"),
    ({"dataframe_records": [ONE, {"label": 9}]}, f"row 1: seed nan {WHOLE}"),
    ({"dataframe_records": [{"label": 9, "seed": 2**63}]}, f"seed 9223372036854775808 {WHOLE}"),
    ({"inputs": [[9, n] for n in range(1001)]}, "the input has 1,001 rows; it must have 1 to 1,000"),
    ({"inputs": []}, "the input has 0 rows"),
    ({"inputs": None}, "the input is None"),
    ({"inputs": [ONE], "params": {"truncation": 0}}, "truncation is 0.0; it must be above 0 and at most 1"),
    ({"inputs": [ONE], "params": {"truncation": "half"}}, "'truncation'"),
    ({"inputs": [ONE], "params": {"format": "gif"}}, "format is 'gif'; it must be one of array, png"),
    ({"inputs": [ONE], "params": ["png"]}, "Parameters must be a dictionary"),
    ({}, "with exactly one of the input fields"),
    ([[9, 0]], "Received a list"),
    (b"", "valid JSON"),
    (b"\xff\xfe\x00", "valid JSON"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD)
def test_bad_requests_are_answered_and_the_server_lives_on(server: Server, body: Any, sentence: str) -> None:
    assert sentence in server.refusal(body)


@pytest.mark.parametrize("body", [b"", b"label,seed\n", b"label\n9\n", b"label,seed\n9,-1\n", b"label,seed,x\n9,0,1\n"])
def test_bad_csv(server: Server, body: bytes) -> None:
    assert server.refusal(body, {"Content-Type": "text/csv"})


def test_another_kind_of_body(server: Server) -> None:
    status, text = server.post(b"{}", {"Content-Type": "text/plain"})
    assert status == 415
    assert "text/csv" in text


# Only the project's server


def memory(server: Server) -> int:
    """The most that the process ever held, in KiB."""
    lines = Path(f"/proc/{server.number}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


TOO_LONG = "the body has more than 1,048,576 bytes, which is the limit of this server"


@pytest.mark.slow
def test_a_streamed_body_without_end_is_cut_off(our_server: Server) -> None:
    def rows(mebibytes: int) -> Iterator[bytes]:
        yield b'{"inputs": ['
        for _ in range(mebibytes):
            yield b"[9, 0], " * 2**17

    before = memory(our_server)
    assert our_server.refusal(rows(300), status=413) == TOO_LONG
    assert memory(our_server) - before < 30 * 1024


def test_the_length_that_a_request_claims(ours: Server) -> None:
    """More than the limit is refused before a byte has come; a body is read to the length that was claimed, no further."""
    whole = b'{"inputs": [[9, 0]]}'
    began = time.monotonic()
    assert ours.refusal(b"", {**JSON, "Content-Length": "20000000000"}, status=413) == TOO_LONG
    assert time.monotonic() - began < 5
    assert "valid JSON" in ours.refusal(whole, {**JSON, "Content-Length": "10"})
    exactly = whole[:-1] + b" " * (2**20 - len(whole)) + b"}"
    assert ours.post(exactly)[0] == 200
    assert ours.refusal(exactly + b" ", status=413) == TOO_LONG


def test_what_mlflow_cannot_take_apart(ours: Server) -> None:
    assert "no Content-Type" in ours.refusal(b"{}", {}, status=415)
    assert "4300 digits" in ours.refusal(b'{"inputs": [[9, ' + b"1" * 5000 + b"]]}")
    assert "recursion" in ours.refusal(b"[" * 10**5)


@pytest.mark.slow
def test_two_processes_answer_and_end_together(project: Project, tmp_path: Path) -> None:
    with running(project, tmp_path / "log", *OURS, "--workers", "2") as (server, process):
        assert torch.equal(as_pixels(server.predictions({"inputs": ROWS})), expected(project))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server(project: Project, tmp_path: Path, number: signal.Signals) -> None:
    with running(project, tmp_path / "log", *OURS) as (server, process):
        process.send_signal(number)
        assert process.wait(30) == 0
    said = (tmp_path / "log").read_text()
    assert f"serving gan-digits/1 at http://127.0.0.1:{server.port}/invocations" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gan-unknown"], "has no model 'gan-unknown'; it has gan-digits"),
        (["gan-digits", "--workers", "0"], "--workers is 0; it must be 1 or more"),
        (["gan-digits", "--port", "70000"], "--port is 70000; it must be 1 to 65535"),
        (["gan-digits", "--port", "0"], "--port is 0"),
        (["gan-digits", "--host", "192.0.2.1"], "--host 192.0.2.1 --port 5001: cannot bind to the address"),
    ],
)
def test_wrong_arguments(in_project: Project, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        serve.main(arguments)


def test_a_port_that_is_taken(in_project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(
            UserError, match=r"^--host 127.0.0.1 --port \d+: cannot bind to the address \(Address already in use"
        ):
            serve.main(["gan-digits", "--port", str(taken.getsockname()[1])])
