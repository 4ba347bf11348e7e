"""An HTTP server that keeps a log and hangs up, halts and mumbles when it is told to; what it serves is given."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sync_pipelines.sandbox.processes import LOOPBACK
from sync_pipelines.sandbox.stand_ins.seen import Log, Seen

WIRE = ("slow", "drip", "cut", "drop", "html", "text", "json", "hold")
"""Trouble on the wire.

`slow`: the answer begins after `seconds`. `drip`: it comes in pieces over `seconds`. `cut`: half of it. `drop`: none.
`html`, `text`, `json`: 200 with a page, with words, or with JSON that says nothing. `hold`: none until the reply's gate
opens, or `seconds` have passed; then the connection is dropped.
"""

_PAGE = "<html><head><title>503</title></head><body><h1>We will be back soon</h1><p>Maintenance.</p></body></html>"
_OTHERS = {
    "html": ("text/html", _PAGE),
    "text": ("text/plain", "OK"),
    "json": ("application/json", '{"status": "OK"}'),
}
_PIECES = 20
_BODY = 64 * 1024 * 1024
"""What is read of a body, in bytes: more than any limit of the services that are stood in for."""


@dataclass(frozen=True)
class Asked:
    """A request.

    Args:
        parts: the path's segments, decoded.
        query: of a name given twice the last value; `pairs` has all.
        headers: names in lower case.
        text: the body.
        at: when it was read, in seconds of `time.monotonic`.
    """

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    text: bytes = b""
    pairs: tuple[tuple[str, str], ...] = ()
    at: float = field(default_factory=time.monotonic)

    @property
    def body(self) -> Any:
        """The body as JSON; None where there is none.

        Raises:
            ValueError: it is no JSON.
        """
        return json.loads(self.text) if self.text else None


@dataclass
class Reply:
    """An answer; `endpoint` and `key` say what was asked for, for faults and log.

    Args:
        document: sent as JSON; bytes are sent as they are.
        limited: whether it was refused as one too many.
        wire: one of `WIRE`, or nothing; `seconds` and `gate` belong to it.
    """

    status: int = 200
    document: Any = None
    endpoint: str = ""
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    limited: bool = False
    wire: str = ""
    seconds: float = 0.0
    gate: threading.Event | None = None

    def content(self) -> tuple[str, bytes]:
        """Content type and body."""
        if isinstance(self.document, bytes):
            return "application/octet-stream", self.document
        return "application/json", json.dumps(self.document).encode()


Serve = Callable[[Asked], Reply]


class Front(ThreadingHTTPServer):
    """Listens on 127.0.0.1, each connection in a thread of its own.

    Args:
        serve: makes the answers.
        port: 0 takes a free one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, serve: Serve, *, port: int = 0) -> None:
        self.serve, self.log = serve, Log()
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def start(self) -> None:
        """Serve, in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of faults of ours; a client that hangs up is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Serve no more, and give the port back."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # without these two an answer waits 40 ms for the client's acknowledgement of its headers
    wbufsize = 65_536
    disable_nagle_algorithm = True

    @property
    def _front(self) -> Front:
        return cast(Front, self.server)

    def setup(self) -> None:
        """Note the connection."""
        super().setup()
        self._front.log.connected()

    def finish(self) -> None:
        """Note its end; a client that hung up is no error."""
        with suppress(OSError):
            super().finish()
        self._front.log.disconnected()

    def _serve(self) -> None:
        asked = self._asked()
        if asked.parts[:1] == ("control",):
            self._write(self._front.serve(asked))
            return
        self._front.log.began()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._answer(self._noted(asked))
        finally:
            self._front.log.ended()

    def _noted(self, asked: Asked) -> Reply:
        reply = Reply(500)
        try:
            reply = self._front.serve(asked)
        finally:
            self._front.log.noted(Seen(asked.at, reply.endpoint, reply.key, reply.status, reply.limited))
        return reply

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

    def _asked(self) -> Asked:
        at = time.monotonic()
        url = urlsplit(self.path)
        parts = tuple(unquote(part) for part in url.path.split("/") if part)
        headers = {name.lower(): value for name, value in self.headers.items()}
        pairs = tuple(parse_qsl(url.query, keep_blank_values=True))
        length = int(headers.get("content-length", 0))
        if length > _BODY:
            self.close_connection = True
        return Asked(self.command, parts, dict(pairs), headers, self.rfile.read(min(length, _BODY)), pairs, at)

    def _answer(self, reply: Reply) -> None:
        if reply.wire == "hold" and reply.gate:
            reply.gate.wait(reply.seconds)
        if reply.wire in ("drop", "hold"):
            self._hang_up()
        elif reply.wire in _OTHERS:
            kind, said = _OTHERS[reply.wire]
            self._write(Reply(200, said.encode(), headers={"Content-Type": kind}))
        elif reply.wire == "cut":
            self._cut(reply)
        else:
            if reply.wire == "slow":
                time.sleep(reply.seconds)
            self._write(reply, seconds=reply.seconds if reply.wire == "drip" else 0.0)

    def _write(self, reply: Reply, *, seconds: float = 0.0) -> None:
        kind, body = reply.content()
        self._begin(reply, kind, len(body))
        size = max(1, -(-len(body) // _PIECES)) if seconds else len(body) or 1
        for begin in range(0, len(body), size):
            self.wfile.write(body[begin : begin + size])
            if seconds:
                self.wfile.flush()
                time.sleep(seconds / _PIECES)

    def _begin(self, reply: Reply, kind: str, length: int) -> None:
        if "Date" in reply.headers:
            self.send_response_only(reply.status)
        else:
            self.send_response(reply.status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _cut(self, reply: Reply) -> None:
        kind, body = reply.content()
        self._begin(reply, kind, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted by the log."""
