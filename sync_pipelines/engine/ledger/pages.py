"""What a sync made of each page of a database that people edit: the base from which their edits are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import Store, utc_or_none

_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A row of `sync_pages`; hashes and ids, no content. Times are UTC.

    Args:
        page_id: None where it was to be made and nobody knows whether it was.
        fingerprint: of the note that the page was last made equal to. edited_time: the page's, at our last look.
        seen_at: when that was. body: the blocks that the sync made, and what is under way.
        properties: property → hash of what the sync wrote. note: what a person should know of the page.
    """

    key: str
    page_id: str | None = None
    fingerprint: str | None = None
    edited_time: datetime | None = None
    seen_at: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None


class PageBook(Store):
    """The pages of each user."""

    def pages_of(self, sync: str, table: str, keys: Sequence[str]) -> dict[str, PageRow]:
        """What is known of these notes' pages."""
        if not keys:
            return {}
        book = self._tables.pages
        given = sa.cast(sa.bindparam(None, list(keys), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))
        chosen = sa.select(book).where(*at_place(book, sync, table), book.c.record_key == sa.any_(given))
        rows = self._transaction(lambda connection: connection.execute(chosen).mappings().all())
        return {row["record_key"]: _row(row) for row in rows}

    def keep_pages(self, sync: str, table: str, rows: Sequence[PageRow]) -> None:
        """Note what is about to be made of pages, or was."""
        if not rows:
            return
        book = self._tables.pages
        values = [{"sync_type": sync, "table_name": table, **_values(row)} for row in rows]
        putting = insert(book).values(values)
        kept = {name: putting.excluded[name] for name in _values(rows[0]) if name != "record_key"}
        putting = putting.on_conflict_do_update(index_elements=["sync_type", "table_name", "record_key"], set_=kept)
        self._transaction(lambda connection: connection.execute(putting))

    def forget_pages(self, sync: str, table: str, keys: Sequence[str] | None = None) -> None:
        """Forget these pages, or all."""
        book = self._tables.pages
        gone = sa.delete(book).where(*at_place(book, sync, table))
        if keys is not None:
            gone = gone.where(book.c.record_key.in_(keys))
        self._transaction(lambda connection: connection.execute(gone))

    def places_of_page(self, key: str, page: str) -> list[tuple[str, str]]:
        """Sync and table of each record of this key that has this page."""
        book = self._tables.pages
        chosen = sa.select(book.c.sync_type, book.c.table_name).where(book.c.page_id == page, book.c.record_key == key)
        rows = self._transaction(lambda connection: connection.execute(chosen.order_by("table_name")).all())
        return [(sync, table) for sync, table in rows]

    def noted_pages(self, sync: str, table: str) -> Iterator[PageRow]:
        """The pages of which something is noted that a person should know, by key."""
        return self._by_key(sync, table, self._tables.pages.c.note.is_not(None))

    def every_page(self, sync: str, table: str) -> Iterator[PageRow]:
        """All rows, by key."""
        return self._by_key(sync, table)

    def _by_key(self, sync: str, table: str, *wanted: sa.ColumnElement[bool]) -> Iterator[PageRow]:
        book, last = self._tables.pages, None
        chosen = sa.select(book).where(*at_place(book, sync, table), *wanted).order_by("record_key").limit(_SIZE)
        while True:
            page = chosen if last is None else chosen.where(book.c.record_key > last)
            rows = self._transaction(lambda connection, page=page: connection.execute(page).mappings().all())
            yield from map(_row, rows)
            if len(rows) < _SIZE:
                return
            last = rows[-1]["record_key"]


def _values(row: PageRow) -> dict[str, Any]:
    return {
        "record_key": row.key,
        "page_id": row.page_id,
        "fingerprint": row.fingerprint,
        "edited_time": row.edited_time,
        "seen_at": row.seen_at,
        "blocks": dict(row.body),
        "title_hash": row.title,
        "property_hashes": dict(row.properties),
        "note": row.note,
    }


def _row(row: Mapping[Any, Any]) -> PageRow:
    body = row["blocks"]
    return PageRow(
        key=row["record_key"],
        page_id=row["page_id"],
        fingerprint=row["fingerprint"],
        edited_time=utc_or_none(row["edited_time"]),
        seen_at=utc_or_none(row["seen_at"]),
        body=body if isinstance(body, dict) else {},
        title=row["title_hash"],
        properties=row["property_hashes"] or {},
        note=row["note"],
    )
