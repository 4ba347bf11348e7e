"""What was last synced of each record, with its values, where a table's conflicts are judged by them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipelines.engine.ledger.conflict_rows import OpenConflict
from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import Store
from sync_pipelines.engine.sql import qualified

# What becomes the base before is taken from the row where it stands there; also where the statement is sent again,
# since its answer got lost.
_KEEP = """
INSERT INTO {bases} AS old (sync_type, table_name, record_key, fingerprint, data, previous, previous_data)
SELECT :sync, :table, given.record_key, given.fingerprint, given.data::jsonb, given.previous, given.previous_data::jsonb
FROM unnest(:keys, :prints, :data, :previous, :previous_data)
    AS given (record_key, fingerprint, data, previous, previous_data)
ON CONFLICT (sync_type, table_name, record_key) DO UPDATE SET
    fingerprint = excluded.fingerprint, data = excluded.data,
    previous = excluded.previous, noted_at = now(), previous_data = coalesce(excluded.previous_data, CASE
        WHEN old.fingerprint = excluded.previous THEN old.data
        WHEN old.previous = excluded.previous THEN old.previous_data END)
"""


_KNOWN = """
SELECT given.key, b.fingerprint, b.data, b.previous, b.previous_data,
    c.id IS NOT NULL AS is_open, c.source_fingerprint AS mark, c.accepted_at IS NOT NULL AS accepted
FROM unnest(:keys) AS given (key)
LEFT JOIN {bases} AS b ON b.sync_type = :sync AND b.table_name = :table AND b.record_key = given.key
LEFT JOIN {conflicts} AS c ON c.sync_type = :sync AND c.table_name = :table AND c.record_key = given.key
    AND c.resolved_at IS NULL
WHERE b.record_key IS NOT NULL OR c.id IS NOT NULL
"""


@dataclass(frozen=True)
class KnownBase:
    """What was last synced of a record, and what before: the target holds that where its commit failed.

    Args:
        data: values of JSON by property; None where none were kept.
    """

    fingerprint: str
    data: Mapping[str, Any] | None = None
    previous: str | None = None
    previous_data: Mapping[str, Any] | None = None

    def of(self, fingerprint: str) -> Mapping[str, Any] | None:
        """What was synced with this fingerprint; None where that is not known."""
        if fingerprint == self.fingerprint:
            return self.data
        return self.previous_data if fingerprint == self.previous else None


class BaseBook(Store):
    """Bases with values; those without are `conflicts.ConflictBook`'s, in the same table."""

    def known_bases(
        self, sync: str, table: str, keys: Collection[str]
    ) -> tuple[dict[str, KnownBase], dict[str, OpenConflict]]:
        """What was last synced of these records, and those that are in conflict now; by one question a batch."""
        if not keys:
            return {}, {}
        names = {name: qualified(self.schema, f"sync_{name}").replace(":", "\\:") for name in ("bases", "conflicts")}
        statement = sa.text(_KNOWN.format(**names)).bindparams(sa.bindparam("keys", type_=ARRAY(sa.Text)))
        values = {"sync": sync, "table": table, "keys": list(keys)}
        rows = self._transaction(lambda connection: connection.execute(statement, values).all())
        bases = {row.key: KnownBase(*row[1:5]) for row in rows if row.fingerprint is not None}
        return bases, {row.key: OpenConflict(row.mark, row.accepted) for row in rows if row.is_open}

    def keep_bases(self, sync: str, table: str, bases: Mapping[str, KnownBase]) -> None:
        """Note what is about to be written, or was.

        Args:
            bases: by key. `previous_data` may be left out where the ledger has it as the data of `previous`.
        """
        if not bases:
            return
        names = {"bases": qualified(self.schema, "sync_bases").replace(":", "\\:")}
        # a cast is written with colons, too, which begin a parameter
        text = _KEEP.format(**names).replace("::jsonb", "\\:\\:jsonb")
        columns = ("keys", "prints", "data", "previous", "previous_data")
        statement = sa.text(text).bindparams(*(sa.bindparam(name, type_=ARRAY(sa.Text)) for name in columns))
        found = list(bases.values())
        values = {
            "sync": sync,
            "table": table,
            "keys": list(bases),
            "prints": [base.fingerprint for base in found],
            "data": [_text(base.data) for base in found],
            "previous": [base.previous for base in found],
            "previous_data": [_text(base.previous_data) for base in found],
        }
        self._transaction(lambda connection: connection.execute(statement, values))

    def forget_every_base(self, sync: str, table: str) -> None:
        """The target was emptied, or is another one: nothing was synced into it yet."""
        book = self._tables.bases
        gone = sa.delete(book).where(*at_place(book, sync, table))
        self._transaction(lambda connection: connection.execute(gone))


def _text(data: Mapping[str, Any] | None) -> str | None:
    return None if data is None else json.dumps(data, ensure_ascii=False)
