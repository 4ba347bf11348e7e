"""A local HTTP receiver of notifications, which can be down, refuse, or hang."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sync_pipelines.sandbox.processes import free_port


class Receiver:
    """Keeps the JSON of every POST and the path of every GET that it answered with 2xx."""

    def __init__(self) -> None:
        self.port = free_port()
        self.posts: list[dict[str, Any]] = []
        self.pings: list[str] = []
        self.refused = 0
        self.status = 200
        self.pause = 0.0
        self.moved_to: str | None = None
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen; on the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def kinds(self) -> list[str]:
        """What arrived, as `opened`, `recovered`, … in order."""
        return [post["kind"] for post in self.posts]


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(lambda: receiver.posts.append({**json.loads(body), "path": self.path}))

        def do_GET(self) -> None:
            self._answer(lambda: receiver.pings.append(self.path))

        def _answer(self, keep: Callable[[], None]) -> None:
            """Kept before it is answered: who has the answer must find it here."""
            status = receiver.status
            time.sleep(receiver.pause)
            if 200 <= status < 300:
                keep()
            else:
                receiver.refused += 1
            self.send_response(status)
            if 300 <= status < 400 and receiver.moved_to:
                self.send_header("Location", receiver.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
