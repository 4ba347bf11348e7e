"""The Statement Execution API: execute, poll, fetch chunks, cancel, and the links behind which chunks lie."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_pipelines.sandbox.databricks import results
from sync_pipelines.sandbox.databricks.results import Chunk
from sync_pipelines.sandbox.databricks.statements import ENDED, Statement, Statements
from sync_pipelines.sandbox.databricks.warehouses import Warehouses
from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route, bad_value, route

LINK_SECONDS = 900.0
"""How long a link to a chunk is good for."""

_TEXT_BYTES = 16 * 1024 * 1024
_API = "/api/2.0/sql/statements"
_CANCEL_SECONDS = 5.0
"""How long an answer waits for a statement that ran into its time-out to be cancelled."""


@dataclass
class _Link:
    statement: Statement
    chunk: Chunk
    until: datetime


class StatementsApi:
    """The routes of statements."""

    def __init__(self, statements: Statements, warehouses: Warehouses, url: str) -> None:
        """Name what the routes work on.

        Args:
            statements: the statements.
            warehouses: where they run.
            url: the front's own address, which links begin with.
        """
        self._statements = statements
        self._warehouses = warehouses
        self._url = url
        self._links: dict[str, _Link] = {}

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            route("execute", "POST", f"{_API}/?", self._execute, _subject_of_new),
            route("poll", "GET", f"{_API}/([^/]+)", self._show, self._subject),
            route("chunk", "GET", f"{_API}/([^/]+)/result/chunks/(\\d+)", self._chunk, self._subject),
            route("cancel", "POST", f"{_API}/([^/]+)/cancel", self._cancel, self._subject),
            route("link", "GET", "/links/([^/]+)", self._download, self._subject_of_link),
        )

    def _execute(self, request: Request) -> Answer:
        wait, stop_then = _patience(request.document)
        statement = self._new(request)
        fault = request.fault or {}
        failure = str(fault.get("message", "a fault on demand")) if fault.get("kind") == "fail" else None
        self._statements.submit(statement, failure=failure)
        # The answer is to be lost after the statement ran, not while it runs.
        statement.ended.wait(None if fault.get("kind") == "drop" else wait)
        if stop_then and not statement.ended.is_set():
            self._statements.cancel(statement)
            statement.ended.wait(_CANCEL_SECONDS)
        return Answer(document=self._document(statement))

    def _new(self, request: Request) -> Statement:
        body = request.document
        text = str(request.wanted("statement"))
        if len(text.encode()) > _TEXT_BYTES:
            raise bad_value(f"The statement's text is longer than {_TEXT_BYTES} bytes.")
        form = body.get("format", "JSON_ARRAY")
        inline = body.get("disposition", "INLINE") == "INLINE"
        if form not in ("JSON_ARRAY", "ARROW_STREAM"):
            raise bad_value(f"The stand-in knows JSON_ARRAY and ARROW_STREAM, not {form}.")
        if inline and form != "JSON_ARRAY":
            raise bad_value(f"The format {form} is not supported for the INLINE disposition.")
        return Statement(
            text=text,
            parameters=body.get("parameters") or (),
            catalog=body.get("catalog"),
            schema=body.get("schema"),
            form=form,
            inline=inline,
            limit=body.get("row_limit"),
            warehouse=self._warehouses.find(request.wanted("warehouse_id")),
        )

    def _find(self, request: Request) -> Statement:
        found = self._statements.find(request.parts[0])
        if found is None:
            raise Refusal(404, "NOT_FOUND", f"The statement {request.parts[0]} was not found.")
        return found

    def _subject(self, request: Request) -> str:
        return self._find(request).subject

    def _subject_of_link(self, request: Request) -> str:
        link = self._links.get(request.parts[0])
        return link.statement.subject if link else request.path

    def _show(self, request: Request) -> Answer:
        return Answer(document=self._document(self._find(request)))

    def _cancel(self, request: Request) -> Answer:
        self._statements.cancel(self._find(request))
        return Answer(document={})

    def _chunk(self, request: Request) -> Answer:
        statement, number = self._find(request), int(request.parts[1])
        if statement.state == "CLOSED":
            raise Refusal(404, "NOT_FOUND", f"The result of the statement {statement.id} is no longer available.")
        if statement.state not in ENDED or statement.rows is None:
            raise bad_value(f"The statement {statement.id} is {statement.state} and has no result.")
        if number >= len(statement.rows.chunks):
            raise bad_value(f"The result has {len(statement.rows.chunks)} chunks; there is none with index {number}.")
        return Answer(document=self._result(statement, number))

    def _document(self, statement: Statement) -> dict[str, Any]:
        status: dict[str, Any] = {"state": statement.state}
        if statement.error is not None:
            status["error"] = {"error_code": "BAD_REQUEST", "message": statement.error}
        found = {"statement_id": statement.id, "status": status}
        if statement.state != "SUCCEEDED":
            return found
        full = statement.rows is not None and bool(statement.rows.chunks)
        result = self._result(statement, 0) if full else {}
        return {**found, "manifest": _manifest(statement), "result": result}

    def _result(self, statement: Statement, number: int) -> dict[str, Any]:
        assert statement.rows is not None
        chunk = statement.rows.chunks[number]
        about = _about(chunk)
        if number + 1 < len(statement.rows.chunks):
            about["next_chunk_index"] = number + 1
            about["next_chunk_internal_link"] = f"{_API}/{statement.id}/result/chunks/{number + 1}"
        if statement.inline:
            return {**about, "data_array": statement.rows.table(chunk)}
        return {"external_links": [{**about, **self._link(statement, chunk)}]}

    def _link(self, statement: Statement, chunk: Chunk) -> dict[str, str]:
        name = secrets.token_urlsafe(24)
        until = datetime.now(UTC) + timedelta(seconds=LINK_SECONDS)
        self._links[name] = _Link(statement, chunk, until)
        return {"external_link": f"{self._url}/links/{name}", "expiration": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    def _download(self, request: Request) -> Answer:
        """A link as the cloud's storage answers it: it knows nothing of Databricks' tokens, and refuses them."""
        link = self._links.get(request.parts[0])
        if "authorization" in request.headers:
            raise Refusal(400, "InvalidArgument", "Only one auth mechanism allowed; the link carries its own.")
        if link is not None and (request.fault or {}).get("kind") == "expired_link":
            link.until = datetime.now(UTC)
        if link is None or link.until <= datetime.now(UTC) or link.statement.rows is None:
            raise Refusal(403, "AccessDenied", "Request has expired")
        if link.statement.form == "JSON_ARRAY":
            text = results.compact(link.statement.rows.table(link.chunk))
            return Answer(parts=(text,), length=len(text))
        length, parts = link.statement.rows.arrow(link.chunk)
        return Answer(parts=parts, length=length)


def _subject_of_new(request: Request) -> str:
    body = request.document
    return f"{body.get('catalog')}.{body.get('schema')} {body.get('statement')}"


def _patience(body: dict[str, Any]) -> tuple[float, bool]:
    """Seconds to wait for the end, and whether to cancel then."""
    given = str(body.get("wait_timeout", "10s"))
    seconds = int(given[:-1]) if re.fullmatch(r"\d+s", given) else -1
    if seconds != 0 and not 5 <= seconds <= 50:
        raise bad_value(f"wait_timeout must be 0s or between 5s and 50s, not {given}.")
    return seconds, seconds > 0 and body.get("on_wait_timeout") == "CANCEL"


def _about(chunk: Chunk) -> dict[str, Any]:
    return {
        "chunk_index": chunk.index,
        "row_offset": chunk.row_offset,
        "row_count": chunk.rows,
        "byte_count": chunk.byte_count,
    }


def _manifest(statement: Statement) -> dict[str, Any]:
    rows = statement.rows
    chunks = rows.chunks if rows else ()
    manifest = {
        "format": statement.form,
        "schema": statement.described,
        "total_chunk_count": len(chunks),
        "total_row_count": rows.row_count if rows else 0,
        "truncated": bool(rows and rows.truncated),
    }
    if chunks:
        manifest["chunks"] = [_about(chunk) for chunk in chunks]
        manifest["total_byte_count"] = rows.byte_count if rows else 0
    return manifest
