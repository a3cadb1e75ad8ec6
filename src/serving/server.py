"""MLflow's scoring server for a registered generator, with a limit on the size of requests.

``mlflow models serve`` reads a body of any length into memory before it calls the model, and has no option to limit it.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO

import orjson
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.device import resolve
from ..core.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_BODY = 2**20
"""Bytes; a thousand rows need less than a tenth of it."""
BODY_SECONDS = 30.0
"""Time limit for a client to send its body."""
LINGER_SECONDS = 10.0
"""How long the rest of a refused body is read and discarded."""
SHUTDOWN_SECONDS = 5
"""Time limit for requests in progress at shutdown."""
FOLDER = "GAN_SERVED_FOLDER"
"""Environment variable with the model's folder, for the server processes."""


class BodyLimit:
    """ASGI middleware that reads a request's body first, and responds itself if the application must not see it.

    413 for a body above ``limit`` bytes regardless of its Content-Length, 408 for one that does not arrive, 415 for one
    without a Content-Type, and 400 for one that the application cannot parse (MLflow responds with 500 to a number of
    5,000 digits, and to JSON in a thousand brackets).
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = bytearray()
        too_long = int(headers.get("content-length", "0")) > self._limit
        more = not too_long
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    too_long = len(body) > self._limit
                    more = message.get("more_body", False) and not too_long
        except TimeoutError:
            await _error(408, f"the body did not arrive within {BODY_SECONDS:g} seconds")(scope, receive, send)
            return
        if too_long:
            await self._refuse(receive, send)
        elif scope["method"] == "POST" and "content-type" not in headers:
            await _error(415, "the request has no Content-Type; it must be application/json or text/csv")(
                scope, receive, send
            )
        else:
            await self._pass_on(scope, bytes(body), receive, send)

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Call the application."""
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        started = False

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, replay, watch)
        except (RecursionError, ValueError) as error:
            if started:
                raise
            await _error(400, f"the body cannot be read: {str(error).partition(';')[0]}")(scope, receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        """Respond with 413, and keep reading: many clients read the response only after sending everything."""
        answer = _error(413, f"the body has more than {self._limit:,} bytes, which is the limit of this server")
        answer.headers["connection"] = "close"
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _error(status: int, sentence: str) -> JSONResponse:
    """A response in the format of MLflow's errors."""
    return JSONResponse({"error_code": "INVALID_PARAMETER_VALUE", "message": sentence}, status)


def create_app() -> "FastAPI":
    """MLflow's application for the model in the folder of the environment variable; called by each server process."""
    import mlflow
    from mlflow.pyfunc import scoring_server

    # A second thread gains little on such small batches, and competes with reading and writing requests.
    resolve(threads=1)
    # MLflow's own function calls json.dump, in Python for each number: 100 ms for 64 images instead of 2.
    scoring_server.predictions_to_json = _predictions_to_json  # type: ignore[assignment]
    app: FastAPI = scoring_server.init(mlflow.pyfunc.load_model(os.environ[FOLDER]))
    app.add_middleware(BodyLimit)
    return app


def _predictions_to_json(predictions: Any, output: TextIO) -> None:
    """The same body as MLflow's function, with float32 in the shortest exact decimals."""
    output.write(orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY).decode("ascii"))


def serve(name: str, fetch: Callable[[str], Path], host: str, port: int, workers: int) -> None:
    """Serve a version, which ``fetch`` downloads into a folder, until a signal is received.

    Raises UserError if the address cannot be used, and whatever ``fetch`` raises.
    """
    import uvicorn

    _check_address(host, port)
    with TemporaryDirectory() as folder:
        os.environ[FOLDER] = str(fetch(folder))
        print(f"serving {name} at http://{host}:{port}/invocations; press Ctrl-C to stop", flush=True)
        uvicorn.run(
            f"{__name__}:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )


def _check_address(host: str, port: int) -> None:
    """Raise UserError for an unusable address, which uvicorn would report only after the model has been loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot bind to the address ({error.strerror})") from None
