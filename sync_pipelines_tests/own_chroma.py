"""Chroma as the tests ask it themselves, past the code under test."""

from __future__ import annotations

from typing import Any

import chromadb
from chromadb.config import Settings


def own_client(url: str, database: str) -> Any:
    """A client of chromadb's for a database of a server."""
    host, port = url.removeprefix("http://").split(":")
    return chromadb.HttpClient(host=host, port=int(port), database=database, settings=Settings(**_PLAIN))


def create_database(url: str, name: str) -> None:
    """A new, empty database of a server."""
    host, port = url.removeprefix("http://").split(":")
    settings = Settings(chroma_server_host=host, chroma_server_http_port=int(port), **_PLAIN)
    chromadb.AdminClient(settings).create_database(name)


_PLAIN: dict[str, Any] = {
    "chroma_api_impl": "chromadb.api.fastapi.FastAPI",
    # Without TLS: a client reads the authorities' certificates up to four times, 25 ms each.
    "chroma_server_ssl_verify": False,
}
