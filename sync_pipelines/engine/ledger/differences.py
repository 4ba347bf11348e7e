"""The ledger's book on single differences: keys that the newest deep proof of a table named (`reconciliation_keys`).

A quick proof finds its differences again at any time. What only a look at the values shows costs a whole deep
proof to find, so its keys are kept until a repair has mended them, or another deep proof replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sync_pipelines.engine.compare import Difference
from sync_pipelines.engine.keys import is_text
from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import REASON_CHARACTERS, Store, storable

_LONGEST_KEY = 2_600
"""Bytes; a row of PostgreSQL's index holds 2,704, which a key of the source's keeps to and a stranger's id need not."""

MOST_KEYS = 100_000
"""A target that differs in more keys than this is beyond naming them: a deep repair looks at all of it."""


class DifferenceBook(Store):
    """Keys that a deep proof named."""

    def _replace_differences(
        self,
        connection: sa.Connection,
        sync: str,
        table: str,
        batches: Iterable[Sequence[Difference]],
        *,
        proof_id: int,
    ) -> None:
        """Put the keys of a deep proof in the place of those before; at most `MOST_KEYS` are kept."""
        kept = self._tables.differences
        connection.execute(sa.delete(kept).where(*at_place(kept, sync, table)))
        room = MOST_KEYS
        for batch in batches:
            if rows := [_row(sync, table, item, proof_id) for item in batch[:room]]:
                self._put(connection, rows)
            room -= len(rows)

    def add_differences(self, sync: str, table: str, batch: Sequence[Difference], *, proof_id: int) -> None:
        """Put some keys beside those that are there."""
        if rows := [_row(sync, table, item, proof_id) for item in batch]:
            self._transaction(lambda connection: self._put(connection, rows))

    def named_differences(self, sync: str, table: str, *, size: int = 1000) -> Iterator[list[Difference]]:
        """What the newest deep proof named and no repair has mended, in batches, in key order."""
        kept, last = self._tables.differences, ""
        while True:
            chosen = (
                sa.select(kept.c.record_key, kept.c.kind, kept.c.reason, kept.c.broken)
                .where(*at_place(kept, sync, table), kept.c.record_key > last)
                .order_by(kept.c.record_key)
                .limit(size)
            )
            found = self._transaction(lambda connection, chosen=chosen: list(connection.execute(chosen)))
            if not found:
                return
            yield [Difference(*row) for row in found]
            last = found[-1].record_key

    def forget_differences(self, sync: str, table: str, keys: Sequence[str]) -> None:
        """Take keys off the list: they are as they should be."""
        kept = self._tables.differences
        names = [_name(key) for key in keys]
        gone = sa.delete(kept).where(*at_place(kept, sync, table), kept.c.record_key.in_(names))
        if keys:
            self._transaction(lambda connection: connection.execute(gone))

    def _put(self, connection: sa.Connection, rows: list[dict[str, object]]) -> None:
        connection.execute(insert(self._tables.differences).on_conflict_do_nothing(), rows)


def _row(sync: str, table: str, item: Difference, proof_id: int) -> dict[str, object]:
    return {
        "sync_type": sync,
        "table_name": table,
        "record_key": _name(item.key),
        "kind": item.kind,
        "reason": storable(item.reason, REASON_CHARACTERS),
        "broken": item.broken,
        "proof_id": proof_id,
    }


def _name(key: str) -> str:
    """The key as the list can hold it: a stranger's id may have a NUL, or be longer than any index takes.

    Every listing of the target shows such an id again, so the list does not need it letter by letter.
    """
    if is_text(key) and len(key.encode()) <= _LONGEST_KEY:
        return key
    return storable(key, _LONGEST_KEY // 4)
