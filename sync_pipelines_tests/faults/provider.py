"""An embedding provider over HTTP: it speaks text-embeddings-inference's protocol and answers the hash vectors."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sync_pipelines.targets.embedding_functions import HashEmbedding


class Provider(ThreadingHTTPServer):
    """Counts what it is asked to embed, also where its answer gets lost."""

    daemon_threads = True

    def __init__(self, dimensions: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.embed = HashEmbedding(dimensions)
        self.asked: Counter[str] = Counter()

    def answer(self, texts: list[str]) -> list[list[float]]:
        self.asked.update(texts)
        return [[float(number) for number in vector] for vector in self.embed(texts)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """Head and body in one piece: in two, each answer waits 40 ms for the client's delayed ACK (Nagle)."""
    server: Provider  # type: ignore[assignment]

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        body = json.dumps(self.server.answer(texts)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(dimensions: int) -> Iterator[Provider]:
    """A provider that answers until the block ends."""
    with Provider(dimensions) as provider:
        thread = threading.Thread(target=provider.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield provider
        provider.shutdown()
        thread.join()
