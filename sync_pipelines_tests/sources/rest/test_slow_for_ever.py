"""An answer that comes in drops for ever, wherever it drips: nobody waits for it beyond its time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from sync_pipelines.sources.rest.client import Call, ClientSettings, RestClient

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
DRIPS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-more: of them\r\n"),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    # the name of a file, which stands before the first byte of a zipped body, may be as long as it likes
    "zipped body": (
        CHUNKED + b"Content-Encoding: gzip\r\n\r\na\r\n\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03\r\n",
        b"1\r\na\r\n",
    ),
    "body": (CHUNKED + b"\r\n", b"1\r\n \r\n"),
}
"""Where it drips: what comes at once, and what comes again and again."""


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of an API whose every answer drips."""
    first, again = DRIPS[request.param]
    over = threading.Event()

    def answer() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(first)
                while not over.wait(0.02):
                    connection.sendall(again)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        over.set()
        thread.join()


@pytest.mark.parametrize("address", list(DRIPS), indirect=True)
def test_an_answer_that_never_ends_fails_in_its_time(address: str) -> None:
    settings = ClientSettings(base_url=address, timeout=0.3, retry_attempts=1, patience=0.1)
    found: list[object] = []

    def ask() -> None:
        with RestClient(settings) as client:
            found.extend(client.fetch([Call(key="1", path="x")]))

    thread = threading.Thread(target=ask, daemon=True)  # one that hangs is left behind
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [(item.status, item.reason) for item in found] == [("failed", "the answer was not whole within 0.3 s")]  # ty: ignore[unresolved-attribute]
