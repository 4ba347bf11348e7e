"""The HTTP server: authorisation, faults on demand, the way to a route and back."""

from __future__ import annotations

import hmac
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sync_pipelines.sandbox.databricks.bodies import Body, body_of
from sync_pipelines.sandbox.databricks.faults import Faults
from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route
from sync_pipelines.sandbox.processes import LOOPBACK

_OPEN = ("/links/", "/ready")
"""Paths that need no token: a link into the cloud's own storage carries its right in itself."""


class Front(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and answers each request in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, *, token: str, routes: Sequence[Route], faults: Faults) -> None:
        """Take the port.

        Args:
            port: the port on 127.0.0.1.
            token: what ``Authorization: Bearer`` must carry.
            routes: what is answered; the first that fits is taken.
            faults: asked before and after each request.
        """
        super().__init__((LOOPBACK, port), _Handler)
        self.token = token
        self.routes = routes
        self.faults = faults


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without these two an answer waits 40 ms for the client's acknowledgement of its headers.
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = body_of(self.headers, cast(BinaryIO, self.rfile))
        request = self._request(body)
        try:
            answer = self._answer(request)
        except Refusal as refusal:
            answer = refusal.answer()
        except Exception as error:
            logging.getLogger(__name__).exception("%s %s", self.command, self.path)
            answer = Refusal(500, "INTERNAL_ERROR", f"{type(error).__name__}: {error}").answer()
        # What a refused upload still sends would be read as the next request.
        body.drain()
        if answer is None:
            self._hang_up()
        else:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

    def _request(self, body: Body) -> Request:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, unquote(url.path), dict(parse_qsl(url.query)), headers, body)

    def _answer(self, request: Request) -> Answer | None:
        """The answer, or None where a fault loses it."""
        self._authorise(request)
        found = self._route(request)
        request.fault = fault = self._front.faults.meet(found.kind, found.subject(request))
        if fault is not None:
            if fault["kind"] == "drop_before":
                return None
            if fault["kind"] in ("429", "503"):
                return _throttled(fault)
            if fault["kind"] == "hang":
                time.sleep(float(fault.get("seconds", 5)))
        answer = found.handle(request)
        return None if fault is not None and fault["kind"] == "drop" else answer

    def _authorise(self, request: Request) -> None:
        if request.path.startswith(_OPEN):
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            text = "Credential was not sent or was of an unsupported type for this API."
            raise Refusal(401, "UNAUTHENTICATED", text)
        if not hmac.compare_digest(token.encode(), self._front.token.encode()):
            raise Refusal(403, "PERMISSION_DENIED", "Invalid access token.")

    def _route(self, request: Request) -> Route:
        for candidate in self._front.routes:
            match = candidate.pattern.fullmatch(request.path)
            if match and candidate.method == request.method:
                request.parts = match.groups()
                return candidate
        raise Refusal(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")

    @property
    def _front(self) -> Front:
        return cast(Front, self.server)

    def _send(self, answer: Answer) -> None:
        length, parts = answer.body()
        self.send_response(answer.status)
        if answer.document is not None:
            self.send_header("Content-Type", "application/json")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            for part in parts:
                self.wfile.write(part)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """The log is of Spark and of errors; requests are counted by the faults' log."""


def _throttled(fault: Mapping[str, Any]) -> Answer:
    status = int(fault["kind"])
    code, text = {
        429: ("REQUEST_LIMIT_EXCEEDED", "Too many requests; please try again later."),
        503: ("TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable."),
    }[status]
    headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
    return Answer(status=status, document={"error_code": code, "message": text}, headers=headers)
