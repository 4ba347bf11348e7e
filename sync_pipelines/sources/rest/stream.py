"""The documents of one run: fetched while they are written, so that what was written need not be fetched again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.overwriting import KeySet, key_set
from sync_pipelines.engine.rowsets import RowTable
from sync_pipelines.sources.rest.contract import ContractError, insist_on_storable
from sync_pipelines.sources.rest.endpoint import Endpoint
from sync_pipelines.targets.rowsets.batch import (
    NO_KEY,
    ONE_KEY,
    Document,
    batch_of,
    derived,
    hash_of,
    parts_of,
    schema_of,
)
from sync_pipelines.targets.rowsets.hiding import NOTHING, Hidden

if TYPE_CHECKING:
    from sync_pipelines.sources.rest.calls import Answer
    from sync_pipelines.sources.rest.client import RestClient

_STOPPED = "the budget of requests a day is used up; the rest stays due"
_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Fetched:
    """A `RecordStream` that asks an API; each `iter()` asks anew.

    An outage ends it early, and is raised by `ended`, when what had come before is written.

    Args:
        stored: documents that are made from payloads, without a request; they come first.
        keys: of the documents to fetch, in pages. connect: gives the client. spare: the key of one that was there.
        unseen: of a list, pages of the keys that are known and that these are not.
        tables: what the documents' rows go into. hidden: fields whose values nobody is shown.
        misfit: why the tables cannot hold rows of a key, None where they can.
    """

    endpoint: Endpoint
    tables: Sequence[RowTable]
    connect: Callable[[], AbstractContextManager[RestClient]]
    misfit: Callable[[str], str | None]
    hidden: Hidden = NOTHING
    keys: Iterable[Sequence[str]] | None = None
    spare: str | None = None
    stored: Iterable[Document] = ()
    known: Callable[[], Iterable[list[str]]] = tuple
    client: RestClient | None = None
    told: pa.Schema | None = None
    error: SyncError | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self.tables)

    @property
    def columns(self) -> pa.Schema:
        """The columns of the rows that the documents give, as people are told."""
        return self.told or self.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self.error = None
        for document in self.documents():
            yield batch_of([document], self.tables)

    def ended(self) -> Mapping[str, Any]:
        """What is to be told of the fetching.

        Raises:
            SyncError: what cut it short.
        """
        if self.error is not None:
            raise self.error
        return self.facts

    def documents(self) -> Iterator[Document]:
        """What comes, one by one."""
        yield from self.stored
        if self.endpoint.pagination is None and self.keys is None:
            return
        begun = datetime.now(UTC)
        try:
            with self.connect() as client:
                self.client = client
                try:
                    yield from self._of_list(client) if self.endpoint.pagination else self._of_keys(client)
                finally:
                    self._note(client, begun)
        except SyncError as error:
            self.error = error

    def _note(self, client: RestClient, begun: datetime) -> None:
        seconds = (datetime.now(UTC) - begun).total_seconds()
        self.facts |= {
            "requests": client.requests,
            "requests_per_second": round(client.requests / seconds, 2) if seconds > 0 else 0.0,
        }
        if client.exhausted:
            self.facts["stopped"] = _STOPPED
            place = f"{client.settings.sync}/{client.settings.table}"
            _LOG.warning("%s: %s", place, _STOPPED)  # else a run that may send nothing would end with "nothing to do"

    def _of_keys(self, client: RestClient) -> Iterator[Document]:
        calls = (self.endpoint.call(key) for page in self.keys or () for key in page)
        spare = None if self.spare is None else self.endpoint.call(self.spare)
        for answer in client.fetch(calls, spare=spare):
            yield self._document(answer)

    def _document(self, answer: Answer) -> Document:
        if answer.status == "found":
            return self._found(answer.key, answer.body, answer.at, answer.http_status)
        return Document(
            key=answer.key,
            status=answer.status,
            problem=self._why(answer) if answer.status == "failed" else None,
            http_status=answer.http_status,
            at=answer.at,
        )

    def _found(self, key: str, payload: Any, moment: datetime, http_status: int | None) -> Document:
        document = Document(key=key, status="current", payload=payload, http_status=http_status, at=moment)
        if (broken := self._unkeepable(key, payload)) is not None:  # what was kept before stays
            why = self.hidden.text(broken, parts_of(key, len(self.tables[0].record)), payload)
            return replace(document, payload=None, problem=f"the payload breaks the contract: {why}.")
        return derived(document, self.endpoint.rows_of, self.tables, self.hidden)

    def _unkeepable(self, key: str, payload: Any) -> str | None:
        """Why not even the payload can be kept: payloads are joined with the rows, by keys of the rows' types."""
        try:
            insist_on_storable(payload)
        except ContractError as error:
            return str(error)
        return self.misfit(key)

    def _why(self, answer: Answer) -> str | None:
        parts = parts_of(answer.key, len(self.tables[0].record))
        return answer.reason and self.hidden.text(answer.reason, parts)

    def _of_list(self, client: RestClient) -> Iterator[Document]:
        """Every item; and where the whole list was read, those that it has no more, as absent ones."""
        assert self.endpoint.pagination is not None
        with key_set() as seen:
            path, params = self.endpoint.listed()
            for items in client.pages(path, params, self.endpoint.pagination):
                yield from self._told_apart([self._item(item) for item in items], seen)
            if client.exhausted:
                return
            for page in self.known():
                there = seen.among(page)
                yield from (_gone(key) for key in page if key not in there)

    def _told_apart(self, found: Sequence[Document], seen: KeySet) -> Iterator[Document]:
        """Of items with one key the first; were others written over it, each run would find a change. One that moved
        to the next page meanwhile comes twice as it is; others are told."""
        marks = [f"{item.key}\0{hash_of(item.payload)}" for item in found]  # no key holds a NUL
        known = seen.among([*(item.key for item in found), *marks])
        for item, mark in zip(found, marks, strict=True):
            if item.key not in known:
                yield item
            elif mark not in known:
                yield self._second(item)
                seen.add([ONE_KEY])
            known |= {item.key, mark}
        seen.add([*(item.key for item in found), *marks])

    def _second(self, item: Document) -> Document:
        parts = parts_of(item.key, len(self.tables[0].record))
        why = (
            f"the list has two items of the key {', '.join(parts)} that differ; `source.key` does not tell them apart, "
        )
        why += "or the first has changed while the list was read"
        problem = f"{self.hidden.text(why, parts, item.payload)}."
        return Document(key=ONE_KEY, status="failed", problem=problem, http_status=item.http_status, at=item.at)

    def _item(self, item: Any) -> Document:
        try:
            key = self.endpoint.key_of(item)
        except ValueError as error:
            why = f"the list breaks the contract: {error}"
            return Document(key=NO_KEY, status="failed", problem=f"{why}.", at=datetime.now(UTC))
        return self._found(key, item, datetime.now(UTC), 200)


def _gone(key: str) -> Document:
    return Document(key=key, status="absent", at=datetime.now(UTC))
