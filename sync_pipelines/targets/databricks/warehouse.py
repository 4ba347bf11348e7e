"""Statements on a SQL warehouse: sent, waited for, their results streamed, cancelled when the run is."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.targets.databricks.errors import databricks_errors, of_statement
from sync_pipelines.targets.databricks.settings import WarehouseSettings

if TYPE_CHECKING:
    from databricks.sdk.service.sql import ExternalLink

_FIRST_LOOK, _LONGEST_LOOK = 0.05, 2.0
_LINK_TRIES = 3
_LINK_SECONDS = 60.0
_PIECE, _IN_MEMORY = 1024 * 1024, 8 * 1024 * 1024


@dataclass(frozen=True)
class Parameter:
    """A value that a statement is given beside its text: `value` as text (None is NULL), `type` as SQL spells it."""

    value: str | None
    type: str = "STRING"


@dataclass
class Spent:
    """What a run has had of the warehouse: statements, and the seconds for which they were at work there.

    Args:
        sent: how many statements without rows began with which word, those of a job in the run's name included.
    """

    statements: int = 0
    seconds: float = 0.0
    sent: Counter[str] = field(default_factory=Counter)

    def note(self, statement: str) -> None:
        """Count a statement by its first word."""
        self.sent[statement.split(maxsplit=1)[0]] += 1


@dataclass
class Warehouse:
    """One SQL warehouse. Making one connects to nothing.

    Args:
        settings: where it is. place: sync and table, for errors. sleep: given by tests; seconds.
    """

    settings: WarehouseSettings
    place: dict[str, Any] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep
    spent: Spent = field(default_factory=Spent)

    @cached_property
    def client(self) -> Any:
        """dagster-databricks' client (databricks-sdk)."""
        return self.settings.client()

    def state(self) -> str:
        """Whether the warehouse is RUNNING, STOPPED, …; the question does not start it."""
        with databricks_errors("ask for the warehouse", self.place):
            return str(self.client.warehouses.get(self.settings.warehouse).state.value)

    def run(self, statement: str, *, doing: str, **parameters: Parameter) -> None:
        """Run a statement whose rows nobody wants."""
        self.spent.note(statement)
        self._finish(statement, doing, parameters, arrow=False)

    def rows(self, statement: str, *, doing: str, **parameters: Parameter) -> list[dict[str, str | None]]:
        """A few rows (under 25 MiB), each value as text."""
        done = self._finish(statement, doing, parameters, arrow=False)
        names = [column.name for column in done.manifest.schema.columns or ()]
        found: list[dict[str, str | None]] = []
        result = done.result
        while result is not None:
            found += [dict(zip(names, row, strict=True)) for row in result.data_array or ()]
            result = self._next_chunk(done.statement_id, result.next_chunk_index, doing)
        return found

    def columns(self, statement: str, *, doing: str) -> list[tuple[str, str]]:
        """The names of a query's columns and their types as SQL spells them."""
        done = self._finish(statement, doing, {}, arrow=False)
        return _columns_of(done)

    def stream(self, statement: str, *, doing: str, **parameters: Parameter) -> Iterator[pa.RecordBatch]:
        """However many rows, as Arrow batches: a chunk is fetched when it is its turn, and nothing is held."""
        yield from self._batches(self._finish(statement, doing, parameters, arrow=True), doing)

    def query(self, statement: str, *, doing: str) -> tuple[list[tuple[str, str]], Iterator[pa.RecordBatch]]:
        """As `stream`, and what the columns are called and their types as SQL spells them: also where no row comes."""
        done = self._finish(statement, doing, {}, arrow=True)
        return _columns_of(done), self._batches(done, doing)

    def _batches(self, done: Any, doing: str) -> Iterator[pa.RecordBatch]:
        links = list((done.result.external_links if done.result else None) or ())
        while links:
            for link in links:
                yield from self._fetched(done.statement_id, link, doing)
            chunk = self._next_chunk(done.statement_id, links[-1].next_chunk_index, doing)
            links = list((chunk.external_links if chunk else None) or ())

    def _next_chunk(self, statement_id: str | None, number: int | None, doing: str) -> Any:
        if number is None:
            return None
        with databricks_errors(doing, self.place):
            return self.client.statement_execution.get_statement_result_chunk_n(statement_id, number)

    def _fetched(self, statement_id: str | None, link: ExternalLink, doing: str) -> Iterator[pa.RecordBatch]:
        """The batches behind a link. The whole chunk is fetched before its first row is given on, so that one that
        breaks off, or whose link has expired, can be asked for anew."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            self._fetch(statement_id, link, doing, file)
            if file.seek(0, os.SEEK_END):
                file.seek(0)
                with pa.ipc.open_stream(pa.PythonFile(file, mode="r")) as reader:
                    yield from reader

    def _fetch(self, statement_id: str | None, link: ExternalLink, doing: str, file: IO[bytes]) -> None:
        import requests

        for left in range(_LINK_TRIES - 1, -1, -1):
            file.seek(0)
            file.truncate()
            try:
                _download(link, file)
                return
            except (requests.RequestException, OSError) as error:
                if not left:
                    # the link is a secret for as long as it holds: the error's own text would show it
                    raise TransientError(
                        f"Databricks: could not {doing}: a part of the result could not be fetched "
                        f"({type(error).__name__}).",
                        **self.place,
                    ) from None
            fresh = self._next_chunk(statement_id, link.chunk_index or 0, doing)
            link = next(item for item in fresh.external_links if item.chunk_index == link.chunk_index)

    def _finish(self, statement: str, doing: str, parameters: Mapping[str, Parameter], *, arrow: bool) -> Any:
        """Send a statement and wait for its end; where the wait is interrupted, it is cancelled."""
        began = time.monotonic()
        self.spent.statements += 1
        with databricks_errors(doing, self.place):
            sent = self._send(statement, parameters, arrow=arrow)
            ended = False
            try:
                done = self._wait(sent)
                ended = True
            finally:
                self.spent.seconds += time.monotonic() - began
                if not ended:
                    self.client.statement_execution.cancel_execution(sent.statement_id)
        return self._successful(done, doing)

    def _send(self, statement: str, parameters: Mapping[str, Parameter], *, arrow: bool) -> Any:
        from databricks.sdk.service import sql

        given = [
            sql.StatementParameterListItem(name=name, value=value.value, type=value.type)
            for name, value in parameters.items()
        ]
        # answered at once: a statement that we have no id of could not be cancelled
        return self.client.statement_execution.execute_statement(
            statement,
            self.settings.warehouse,
            wait_timeout="0s",
            parameters=given or None,
            disposition=sql.Disposition.EXTERNAL_LINKS if arrow else sql.Disposition.INLINE,
            format=sql.Format.ARROW_STREAM if arrow else sql.Format.JSON_ARRAY,
        )

    def _wait(self, sent: Any) -> Any:
        """Look with growing pauses. PENDING is a warehouse that starts, which takes minutes: it is waited for."""
        pause = _FIRST_LOOK
        while sent.status.state.value in ("PENDING", "RUNNING"):
            self.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
            sent = self.client.statement_execution.get_statement(sent.statement_id)
        return sent

    def _successful(self, done: Any, doing: str) -> Any:
        state = done.status.state.value
        if state == "SUCCEEDED":
            return done
        error = done.status.error
        text = (error.message if error else None) or f"the statement is {state}"
        if state in ("CANCELED", "CLOSED"):
            raise TransientError(f"Databricks: could not {doing}: somebody has cancelled it ({state}).", **self.place)
        raise of_statement(error.error_code.value if error and error.error_code else state, text, doing, self.place)


def _columns_of(done: Any) -> list[tuple[str, str]]:
    schema = done.manifest.schema if done.manifest else None
    return [(column.name, column.type_text) for column in (schema.columns if schema else None) or ()]


def _download(link: ExternalLink, file: IO[bytes]) -> None:
    """What stands behind a link, written to a file."""
    import requests

    # a session of its own: the link carries its own signature, and the workspace's token must not go there
    with (
        requests.Session() as session,
        session.get(
            str(link.external_link), headers=link.http_headers or {}, stream=True, timeout=_LINK_SECONDS
        ) as answer,
    ):
        answer.raise_for_status()
        for piece in answer.iter_content(_PIECE):
            file.write(piece)


def text_literal(text: str) -> str:
    """A text in a statement where no parameter may stand (properties, comments)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def listed(values: Sequence[str]) -> Parameter:
    """Many texts in one parameter; `explode(from_json(:name, 'array<string>'))` has them back."""
    return Parameter(json.dumps(list(values)))
