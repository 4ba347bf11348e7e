"""Small things that the tests of ledger and locks share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from sqlalchemy import make_url

from sync_pipelines.engine.model import Counts, SourceIdentity, Watermark
from sync_pipelines.sandbox.postgres import PostgresServer

PLACE = ("knowledge", "journey_template")


def watermark(**changes: Any) -> Watermark:
    """A watermark of trigger capture, with these fields instead of the usual ones."""
    usual = {
        "capture": "trigger",
        "position": {"snapshot": "10:20:10,15"},
        "source": SourceIdentity(system_identifier="7", timeline=1, database="app", table_oid=16384),
        "key": ("id",),
        "mapping": "0123456789ab",
        "taken_at": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC),
        "target": None,
    }
    return Watermark(**(usual | changes))


def begin(ledger, *, mode: str = "incremental", run_id: str = "run-1", place: tuple[str, str] = PLACE):
    """A run of the usual table."""
    return ledger.begin(*place, mode=mode, trigger="sensor", run_id=run_id)


def end(ledger, run, status: str = "completed", **more: Any):
    """Close a run that did nothing else."""
    return ledger.finish(run, status=status, counts=more.pop("counts", Counts()), **more)


def rows(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What the database itself says, beside the code under test."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(plain)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def emptied(server: PostgresServer, name: str) -> str:
    """The URL of a database that tests share one after the other, with nothing left of the one before.

    Dropping its schemas takes 10 ms; a database of its own for each test takes 140, and on a busy machine 2 s.
    """
    server.start()
    if not server.has_database(name):
        server.create_database(name)
    url = server.url(name)
    ours = "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public$)'"
    for (schema,) in rows(url, ours):
        rows(url, f"DROP SCHEMA {schema} CASCADE")
    return url


def row(url: str, statement: str, *parameters: Any) -> tuple[Any, ...]:
    """The one row of a statement."""
    (found,) = rows(url, statement, *parameters)
    return found


@contextmanager
def losing_an_answer(url: str, *, to: bytes, after: bytes = b"") -> Iterator[str]:
    """The URL of a proxy that passes everything on, and breaks the line instead of giving one answer.

    Args:
        url: the database.
        to: bytes of the request whose answer is lost: the server has done it, and the client never hears.
        after: bytes of a request that must have come before, on the same connection.
    """
    server = (urlsplit(url).hostname, urlsplit(url).port)
    listener = socket.create_server(("127.0.0.1", 0))
    lost = threading.Event()
    threading.Thread(target=_accept, args=(listener, server, (after, to), lost), daemon=True).start()
    port = listener.getsockname()[1]
    try:
        yield make_url(url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        listener.close()
    assert lost.is_set(), "the request whose answer should be lost never came"


def _accept(listener: socket.socket, server: Any, requests: tuple[bytes, bytes], lost: threading.Event) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        upstream = socket.create_connection(server)
        breaking = threading.Event()
        threading.Thread(target=_requests, args=(client, upstream, requests, lost, breaking), daemon=True).start()
        threading.Thread(target=_answers, args=(upstream, client, breaking), daemon=True).start()


def _requests(
    client: socket.socket,
    upstream: socket.socket,
    requests: tuple[bytes, bytes],
    lost: threading.Event,
    breaking: threading.Event,
) -> None:
    after, to = requests
    armed = False
    with client, upstream:
        while data := _received(client):
            armed = armed or after in data
            if armed and to in data and not lost.is_set():
                lost.set()
                breaking.set()
            upstream.sendall(data)


def _answers(upstream: socket.socket, client: socket.socket, breaking: threading.Event) -> None:
    while data := _received(upstream):
        if breaking.is_set():
            client.shutdown(socket.SHUT_RDWR)
            return
        client.sendall(data)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65_536)
    except OSError:
        return b""
