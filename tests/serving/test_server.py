import asyncio
import json
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.serving import server
from src.serving.server import BodyLimit

LIMIT = 10


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    if body == b"[[[":
        raise RecursionError("maximum recursion depth exceeded; and more")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(
    *chunks: bytes, headers: dict[str, str] | None = None, stalls: bool = False, app: ASGIApp = echo
) -> tuple[int, bytes, int]:
    """Status and body of the answer, and how many chunks were read; ``stalls``: the last of them never comes."""
    sent: list[Message] = []
    waiting = list(chunks)

    async def receive() -> Message:
        if not waiting and stalls:
            await asyncio.sleep(60)
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or stalls}

    async def send(message: Message) -> None:
        sent.append(message)

    pairs = {"content-type": "application/json"} if headers is None else headers
    raw = [(name.encode(), value.encode()) for name, value in pairs.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "headers": raw,
        "query_string": b"",
    }
    asked = BodyLimit(echo, LIMIT) if app is echo else app

    async def call() -> None:
        await asked(scope, receive, send)

    asyncio.run(call())
    status = sent[0]["status"] if sent else 0
    return status, b"".join(message.get("body", b"") for message in sent[1:]), len(chunks) - len(waiting)


def sentence(body: bytes) -> str:
    return str(json.loads(body)["message"])


def test_a_body_up_to_the_limit_goes_through_whole() -> None:
    assert ask(b"") == (200, b"", 1)
    assert ask(b"12345", b"67890") == (200, b"1234567890", 2)


@pytest.mark.parametrize("chunks", [[b"12345678901"], [b"12345", b"678901", b"2"], [b"1"] * 1000])
def test_more_is_refused_and_thrown_away(chunks: list[bytes]) -> None:
    status, body, read = ask(*chunks)
    assert (status, read) == (413, len(chunks))
    assert sentence(body) == "the body has more than 10 bytes, which is the limit of this server"


def test_a_length_above_the_limit_is_refused_before_the_body_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.05)
    status, _, read = ask(headers={"content-type": "application/json", "content-length": "11"}, stalls=True)
    assert (status, read) == (413, 0)


def test_a_client_that_goes_on_sending_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.05)
    assert ask(b"12345678901", b"x", stalls=True)[0] == 413


def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    status, body, _ = ask(b"123", stalls=True)
    assert (status, sentence(body)) == (408, "the body did not arrive within 0.05 seconds")


def test_a_client_that_has_gone_is_not_answered() -> None:
    assert ask() == (0, b"", 0)


def test_what_the_application_cannot_take() -> None:
    assert ask(b"{}", headers={})[0] == 415
    status, body, _ = ask(b"[[[")
    assert (status, sentence(body)) == (400, "the body cannot be read: maximum recursion depth exceeded")
