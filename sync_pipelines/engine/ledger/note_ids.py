"""The keys that notes were given: exports have none of their own, so the ledger remembers whose is whose."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import Store, utc_or_none
from sync_pipelines.engine.sql import qualified

_PAGE = 1000

# as one statement of arrays: a row that came back is there again
_KEEP = """
INSERT INTO {ids} AS old (sync_type, table_name, record_key, created_usec, node_id, signature)
SELECT :sync, :table, given.key, given.created, given.node, given.signature::jsonb
FROM unnest(:keys, :created, :nodes, :signatures) AS given (key, created, node, signature)
ON CONFLICT (sync_type, table_name, record_key) DO UPDATE SET
    created_usec = excluded.created_usec, signature = excluded.signature, last_seen = clock_timestamp(),
    node_id = coalesce(excluded.node_id, old.node_id), gone_at = NULL
"""


@dataclass(frozen=True, kw_only=True)
class NoteId:
    """A note's key, and by what the note is known again.

    Args:
        created: when it was made, microseconds since 1970, UTC. node: its id in the account, where one was read.
        signature: hashes, no content. gone_at: when the source was first found without it; None while it has it.
    """

    key: str
    created: int
    node: str | None = None
    signature: Mapping[str, Any] = field(default_factory=dict)
    gone_at: datetime | None = None


class NoteIdBook(Store):
    """One row a note that was ever seen; a key is never given to another note."""

    def note_ids(self, sync: str, table: str, milliseconds: Collection[int]) -> list[NoteId]:
        """Notes that were made in these milliseconds since 1970, gone ones too."""
        book = self._tables.note_ids
        within = book.c.created_usec // 1000 == sa.func.any(sa.bindparam("ms", type_=ARRAY(sa.BigInteger)))
        return self._note_ids(sync, table, within, {"ms": list(milliseconds)}) if milliseconds else []

    def note_ids_of_files(self, sync: str, table: str, names: Collection[str]) -> list[NoteId]:
        """Notes that stood in these files (hashes of their names) when they were last read."""
        book = self._tables.note_ids
        named = book.c.signature["name"].astext == sa.func.any(sa.bindparam("names", type_=ARRAY(sa.Text)))
        return self._note_ids(sync, table, named, {"names": list(names)}) if names else []

    def note_keys_among(self, sync: str, table: str, keys: Collection[str]) -> set[str]:
        """Those of these keys whose note the source had when it was last read."""
        book = self._tables.note_ids
        there = sa.and_(self._among(), book.c.gone_at.is_(None))
        found = self._note_ids(sync, table, there, {"given": list(keys)}) if keys else []
        return {item.key for item in found}

    def _note_ids(
        self, sync: str, table: str, condition: sa.ColumnElement[bool], values: dict[str, Any]
    ) -> list[NoteId]:
        book = self._tables.note_ids
        chosen = self._chosen_ids().where(*at_place(book, sync, table), condition).order_by(book.c.record_key)
        return [_id(row) for row in self._transaction(lambda connection: connection.execute(chosen, values).all())]

    def every_note_id(self, sync: str, table: str) -> Iterator[list[NoteId]]:
        """All notes that were ever seen, in pages by key."""
        book, last = self._tables.note_ids, ""
        while True:
            page = self._chosen_ids().where(*at_place(book, sync, table), book.c.record_key > last)
            page = page.order_by(book.c.record_key).limit(_PAGE)
            rows = self._transaction(lambda connection, page=page: connection.execute(page).all())
            if not rows:
                return
            yield [_id(row) for row in rows]
            last = rows[-1].record_key

    def keep_note_ids(self, sync: str, table: str, notes: Sequence[NoteId]) -> None:
        """Write down notes that the source has now, each once."""
        if not notes:
            return
        text = _KEEP.format(ids=qualified(self.schema, "sync_note_ids").replace(":", "\\:"))
        kinds = {"keys": sa.Text, "created": sa.BigInteger, "nodes": sa.Text, "signatures": sa.Text}
        statement = sa.text(text.replace("::jsonb", "\\:\\:jsonb")).bindparams(
            *(sa.bindparam(name, type_=ARRAY(kind)) for name, kind in kinds.items())
        )
        values = {
            "sync": sync,
            "table": table,
            "keys": [item.key for item in notes],
            "created": [item.created for item in notes],
            "nodes": [item.node for item in notes],
            "signatures": [json.dumps(dict(item.signature)) for item in notes],
        }
        self._transaction(lambda connection: connection.execute(statement, values))

    def note_ids_seen(self, sync: str, table: str, keys: Collection[str]) -> None:
        """The source has these notes, although nothing more can be said of them now."""
        book = self._tables.note_ids
        seen = sa.update(book).where(*at_place(book, sync, table), self._among())
        seen = seen.values(last_seen=sa.func.clock_timestamp(), gone_at=None)
        if keys:
            self._transaction(lambda connection: connection.execute(seen, {"given": list(keys)}))

    def note_ids_gone(self, sync: str, table: str, keys: Collection[str], *, at: datetime) -> None:
        """The source has these notes no more; the time when that was first found stays."""
        book = self._tables.note_ids
        gone = sa.update(book).where(*at_place(book, sync, table), self._among(), book.c.gone_at.is_(None))
        gone = gone.values(gone_at=at)
        if keys:
            self._transaction(lambda connection: connection.execute(gone, {"given": list(keys)}))

    def note_ids_unseen(self, sync: str, table: str, *, before: datetime, at: datetime) -> None:
        """The source, all of which was read since `before`, has no more what was not seen since."""
        book = self._tables.note_ids
        unseen = (book.c.last_seen < before, book.c.gone_at.is_(None))
        gone = sa.update(book).where(*at_place(book, sync, table), *unseen).values(gone_at=at)
        self._transaction(lambda connection: connection.execute(gone))

    def _among(self) -> sa.ColumnElement[bool]:
        return self._tables.note_ids.c.record_key == sa.func.any(sa.bindparam("given", type_=ARRAY(sa.Text)))

    def _chosen_ids(self) -> sa.Select:
        book = self._tables.note_ids
        return sa.select(book.c.record_key, book.c.created_usec, book.c.node_id, book.c.signature, book.c.gone_at)


def _id(row: Any) -> NoteId:
    key, created, node, signature, gone_at = row
    return NoteId(key=key, created=created, node=node, signature=signature, gone_at=utc_or_none(gone_at))
