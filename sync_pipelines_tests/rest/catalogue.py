"""An API that nothing else knows: a list of currencies behind a bearer token, in pages by a cursor."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "a-token-of-the-catalogue"


@dataclass
class Catalogue:
    """The API, served by a thread. `items` may be changed; `requests` are the paths that were asked for."""

    items: list[dict[str, Any]]
    page: int = 2
    broken: bool = False
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        catalogue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                catalogue.requests.append(self.path)
                status, body = catalogue.answer(self.path, self.headers.get("Authorization", ""))
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the requests are kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api"

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        """A page, after the one whose cursor is given; or one currency."""
        if authorization != f"Bearer {KEY}":
            return 401, {"error": "who are you?"}
        if self.broken:
            return 503, {"error": "later"}
        if name := unquote(urlsplit(path).path.partition("/currency/")[2]):
            return next(((200, item) for item in self.items if item["id"] == name), (404, {"error": "none"}))
        start = int(parse_qs(urlsplit(path).query).get("after", ["0"])[0])
        end = start + self.page
        following = {"after": end} if end < len(self.items) else {}
        return 200, {"data": {"rows": self.items[start:end]}, "links": following}


def currency(code: str, rate: float | str | None = 1.0, **more: Any) -> dict[str, Any]:
    """A currency as the API tells it."""
    return {"id": code, "attributes": {"title": f"The {code}", "quote": {"rate": rate}}} | more


DOCUMENT = {
    "sync": "rates",
    "source": {
        "connection": "rates",
        "path": "currencies",
        "key": ["id"],
        "pagination": {"kind": "cursor", "items": "data.rows", "param": "after", "next": "links.after"},
    },
    "target": {"connection": "rates", "table": "currency"},
    "columns": {
        "code": "id",
        "title": "attributes.title",
        "rate": {"path": "attributes.quote.rate", "type": "numeric", "required": True},
    },
    "fetch": {"rate_limit": 10_000},
}
"""All that a user writes."""
