"""Statements on their way through the warehouse: pending, running, and how they ended."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sync_pipelines.sandbox.databricks import results
from sync_pipelines.sandbox.databricks.results import Rows
from sync_pipelines.sandbox.databricks.session import Engine, in_background, reason
from sync_pipelines.sandbox.databricks.warehouses import Warehouse

AT_ONCE = 8
"""Statements that run at the same time; further ones wait in the warehouse's queue."""

KEPT_SECONDS = 3600.0
"""How long an answer can be fetched after its statement ended."""

INLINE_BYTES = 25 * 1024 * 1024
"""The largest answer that is sent in the response itself."""

_INSIST_SECONDS = 0.1
"""How often a cancelled statement's work is cancelled again, until it has ended."""

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "CLOSED")


@dataclass(kw_only=True)
class Statement:
    """One statement.

    Attributes:
        text: the SQL.
        parameters: {name, type, value} each.
        catalog: the default catalog, or None.
        schema: the default schema, or None.
        form: JSON_ARRAY or ARROW_STREAM.
        inline: whether the answer goes into the response; otherwise links to it do.
        limit: the most rows, or None.
        warehouse: where it runs.
        state: Databricks' name of its state.
        error: what went wrong, once it failed.
        rows: the answer; None while there is none, or when the statement answers with no columns.
        described: the manifest's schema.
    """

    text: str
    parameters: Sequence[Mapping[str, Any]]
    catalog: str | None
    schema: str | None
    form: str
    inline: bool
    limit: int | None
    warehouse: Warehouse
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "PENDING"
    error: str | None = None
    rows: Rows | None = None
    described: dict[str, Any] = field(default_factory=dict)
    ended_at: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def subject(self) -> str:
        """The text by which faults and the log find it: the names it starts from, then the SQL."""
        return f"{self.catalog}.{self.schema} {self.text}"


class Statements:
    """The statements of the last hour."""

    def __init__(self, engine: Engine, scratch: Path) -> None:
        """Begin with none.

        Args:
            engine: runs them.
            scratch: the folder for their answers.
        """
        self._engine = engine
        self._scratch = scratch
        self._known: dict[str, Statement] = {}
        self._slots = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()

    def find(self, number: str) -> Statement | None:
        """Return a statement by its id."""
        return self._known.get(number)

    def submit(self, statement: Statement, *, failure: str | None = None) -> None:
        """Start a statement in a thread of its own.

        Args:
            statement: the statement.
            failure: the message to fail with instead of running it: a fault on demand.
        """
        self._forget_the_old()
        statement.warehouse.start()
        self._known[statement.id] = statement
        in_background(self._run, statement, failure)

    def cancel(self, statement: Statement) -> None:
        """Ask for a statement's end; one that is just being committed may still succeed."""
        if not statement.cancelled.is_set():
            statement.cancelled.set()
            in_background(self._insist, statement)

    def _insist(self, statement: Statement) -> None:
        while not statement.ended.wait(_INSIST_SECONDS):
            self._engine.cancel(statement.id)

    def _run(self, statement: Statement, failure: str | None) -> None:
        try:
            statement.warehouse.wait(statement.cancelled)
            with self._slots:
                self._execute(statement, failure)
        except BaseException as error:
            self._end(statement, "CANCELED" if statement.cancelled.is_set() else "FAILED", reason(error))
        else:
            self._end(statement, "SUCCEEDED", None)

    def _execute(self, statement: Statement, failure: str | None) -> None:
        if statement.cancelled.is_set():
            raise InterruptedError("cancelled before it began")
        statement.state = "RUNNING"
        if failure is not None:
            raise RuntimeError(failure)
        self._engine.name_work(statement.id)
        session = self._engine.session(statement.catalog, statement.schema)
        frame = self._engine.run(session, statement.text, statement.parameters)
        statement.described = results.described(frame)
        file = self._scratch / secrets.token_hex(8)
        text = statement.form == "JSON_ARRAY"
        statement.rows = results.spool(self._engine.jvm, frame, file, text=text, limit=statement.limit)
        if statement.inline and statement.rows and statement.rows.byte_count > INLINE_BYTES:
            raise ValueError(
                f"Inline byte limit exceeded. Statements executed with disposition=INLINE can have a result size of "
                f"at most {INLINE_BYTES} bytes. Please execute the statement with disposition=EXTERNAL_LINKS."
            )

    def _end(self, statement: Statement, state: str, error: str | None) -> None:
        if state != "SUCCEEDED" and statement.rows is not None:
            statement.rows.remove()
            statement.rows = None
        statement.error = error if state == "FAILED" else None
        statement.ended_at = time.monotonic()
        statement.state = state
        statement.ended.set()

    def _forget_the_old(self) -> None:
        with self._lock:
            for statement in list(self._known.values()):
                if statement.state == "SUCCEEDED" and time.monotonic() - statement.ended_at > KEPT_SECONDS:
                    statement.state = "CLOSED"
                    if statement.rows is not None:
                        statement.rows.remove()
