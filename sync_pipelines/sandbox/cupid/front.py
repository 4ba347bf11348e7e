"""An HTTP server that keeps a log, meets requests with faults and refuses what is too much; what it serves is given."""

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

from sync_pipelines.sandbox.cupid.faults import SHAPES, Fault, Faults
from sync_pipelines.sandbox.cupid.seen import Limit, Log, Seen
from sync_pipelines.sandbox.processes import LOOPBACK

_PAGE = "<html><head><title>503</title></head><body><h1>We will be back soon</h1><p>Maintenance.</p></body></html>"
_SAID = {
    400: "bad request",
    401: "invalid api key",
    403: "access to this property is not allowed",
    404: "property not found",
    422: "unprocessable",
    429: "too many requests",
}
_PIECES = 20


@dataclass(frozen=True)
class Asked:
    """A request.

    Args:
        parts: the path's segments, decoded.
        headers: names in lower case.
    """

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass
class Reply:
    """An answer; `endpoint` and `key` say what was asked for, for faults and log."""

    status: int = 200
    document: Any = None
    endpoint: str = ""
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Serve = Callable[[Asked], Reply]


def refusal(status: int, endpoint: str = "", key: str = "", **headers: str) -> Reply:
    """An answer with an error in it."""
    text = _SAID.get(status, "internal server error")
    return Reply(status, {"error": {"code": status, "message": text}}, endpoint, key, dict(headers))


class Front(ThreadingHTTPServer):
    """Listens on 127.0.0.1, each connection in a thread of its own.

    Args:
        serve: makes the answers.
        port: 0 takes a free one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, serve: Serve, *, port: int = 0) -> None:
        self.serve, self.log, self.faults, self.limit = serve, Log(), Faults(), Limit()
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
        at = time.monotonic()
        asked = self._asked()
        if asked.parts[:1] == ("control",):
            self._send(self._front.serve(asked))
            return
        self._front.log.began()
        reply, fault, limited = Reply(500), None, False
        try:
            reply = self._front.serve(asked)
            reply, fault, limited = self._troubled(reply, at)
            with suppress(BrokenPipeError, ConnectionResetError):
                self._answer(reply, fault)
        finally:
            self._front.log.ended(Seen(at, reply.endpoint, reply.key, reply.status, limited))

    do_GET = do_POST = _serve

    def _asked(self) -> Asked:
        url = urlsplit(self.path)
        parts = tuple(unquote(part) for part in url.path.split("/") if part)
        headers = {name.lower(): value for name, value in self.headers.items()}
        text = self.rfile.read(int(headers.get("content-length", 0)))
        return Asked(self.command, parts, dict(parse_qsl(url.query)), headers, json.loads(text) if text else None)

    def _troubled(self, reply: Reply, at: float) -> tuple[Reply, Fault | None, bool]:
        front = self._front
        if not front.limit.allows(at):
            headers = Fault("429", retry_after=front.limit.retry_after).headers()
            return Reply(429, refusal(429).document, reply.endpoint, reply.key, headers), None, True
        fault = front.faults.meet(reply.endpoint, reply.key)
        if fault is None:
            return reply, None, False
        if fault.status != 200:
            refused = refusal(fault.status, reply.endpoint, reply.key)
            refused.headers = fault.headers()
            return refused, fault, False
        if fault.kind in SHAPES and reply.status == 200:
            reply.document = fault.shaped(reply.document)
        return reply, fault, False

    def _answer(self, reply: Reply, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if kind == "drop":
            self._hang_up()
        elif kind in ("html", "text"):
            self._write(
                200, "text/html" if kind == "html" else "text/plain", (_PAGE if kind == "html" else "OK").encode()
            )
        elif kind == "cut":
            self._cut(reply)
        elif fault is not None and kind in ("slow", "drip"):
            self._send(reply, seconds=fault.seconds, pieces=_PIECES if kind == "drip" else 0)
        else:
            self._send(reply)

    def _send(self, reply: Reply, *, seconds: float = 0.0, pieces: int = 0) -> None:
        body = json.dumps(reply.document).encode()
        if not pieces:
            time.sleep(seconds)
        self._write(reply.status, "application/json", body, reply.headers, pieces=pieces, seconds=seconds)

    def _write(
        self,
        status: int,
        kind: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        pieces: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        size = max(1, -(-len(body) // pieces)) if pieces else len(body) or 1
        for begin in range(0, len(body), size):
            self.wfile.write(body[begin : begin + size])
            if pieces:
                self.wfile.flush()
                time.sleep(seconds / pieces)

    def _cut(self, reply: Reply) -> None:
        body = json.dumps(reply.document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted by the log."""
