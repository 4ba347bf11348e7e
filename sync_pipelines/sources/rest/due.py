"""What of a document kind is due to be fetched: plain SQL on the books' checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sync_pipelines.engine.sql import literal
from sync_pipelines.sources.rest.asked import pages
from sync_pipelines.targets.rowsets.books import Books
from sync_pipelines.targets.rowsets.reading import rows

_FAR = "'-infinity'::timestamptz"


@dataclass(frozen=True, kw_only=True)
class Due:
    """How many are due, and since when the oldest of them is."""

    records: int
    oldest: datetime | None


@dataclass(frozen=True)
class Checks:
    """The checks of one part of the books."""

    books: Books

    def register(self, cursor: Any, keys: Iterable[str]) -> None:
        """Note which records are asked for; those that are no more stay, with what is known of them.

        Nothing is written where nothing has changed. The caller commits.
        """
        from psycopg2.extras import execute_values

        checks, mine, part = self.books.checks, self.books.mine, literal(self.books.part)
        cursor.execute("CREATE TEMPORARY TABLE sync_asked (record_key text PRIMARY KEY) ON COMMIT DROP")
        for page in pages(keys):
            values = [(key,) for key in page]
            execute_values(cursor, "INSERT INTO sync_asked VALUES %s ON CONFLICT DO NOTHING", values, page_size=1000)
        cursor.execute(
            f"INSERT INTO {checks} (part, record_key) SELECT {part}, a.record_key FROM sync_asked AS a "
            f"WHERE NOT EXISTS (SELECT FROM {checks} AS c WHERE c.{mine} AND c.record_key = a.record_key)"
        )
        there = "EXISTS (SELECT FROM sync_asked AS a WHERE a.record_key = c.record_key)"
        cursor.execute(f"UPDATE {checks} AS c SET asked = NOT c.asked WHERE c.{mine} AND c.asked <> {there}")

    def due(self, cursor: Any, condition: str) -> Iterator[list[str]]:
        """Keys for which a condition on `c` holds, in pages: first those that failed, then those never fetched, then
        those whose check is the oldest, and last those that are forbidden to us: several of them at the head of a run
        would be taken for a key that is refused."""
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c "
            f"WHERE c.{self.books.mine} AND c.asked AND ({condition}) "
            f"ORDER BY {_TURN}, coalesce(c.checked_at, {_FAR}), c.record_key"
        )
        while found := cursor.fetchmany(1000):
            yield [row[0] for row in found]

    def count_due(self, cursor: Any, every: timedelta) -> Due:
        """How many are due after this interval; the oldest since it was due, one never fetched since it was asked."""
        statement = (
            f"SELECT count(*) AS records, min(c.checked_at) AS oldest FROM {self.books.checks} AS c "
            f"WHERE c.{self.books.mine} AND c.asked AND ({overdue(every)})"
        )
        found = rows(cursor, statement)[0]
        oldest = found["oldest"]
        return Due(records=found["records"], oldest=None if oldest is None else oldest + every)

    def oldest(self, cursor: Any) -> datetime | None:
        """The oldest check of what is asked for; None where one was never made."""
        cursor.execute(
            f"SELECT CASE WHEN count(*) FILTER (WHERE c.checked_at IS NULL) = 0 THEN min(c.checked_at) END "
            f"FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND c.asked"
        )
        return cursor.fetchone()[0]

    def new_among(self, cursor: Any, keys: Iterable[str], *, limit: int) -> int:
        """How many of the keys that are asked for, each once, were never heard of; exact up to a limit, and where there
        is none left no key is read."""
        found = 0
        if limit <= 0:
            return found
        for page in pages(keys, 5000):
            # by the index; as an anti join, each page would read the whole table
            cursor.execute(
                f"SELECT count(*) FROM {self.books.checks} AS c "
                f"WHERE c.{self.books.mine} AND c.record_key = ANY (%s) AND c.asked",
                [page],
            )
            found += len(page) - cursor.fetchone()[0]
            if found >= limit:
                return limit
        return found

    def known(self) -> str:
        """Statement of `reading.pages_of`: the keys that are asked for, or of which a payload is kept."""
        return f"""
SELECT c.record_key AS key FROM {self.books.checks} AS c
WHERE c.{self.books.mine} AND c.record_key > %s AND (c.asked OR EXISTS (
    SELECT FROM {self.books.payloads} AS p WHERE p.{self.books.mine} AND p.record_key = c.record_key
)) ORDER BY c.record_key LIMIT %s"""

    def count_known(self, cursor: Any) -> int:
        """How many there are of those."""
        cursor.execute(
            f"SELECT count(*) FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND (c.asked OR EXISTS ("
            f"SELECT FROM {self.books.payloads} AS p WHERE p.{self.books.mine} AND p.record_key = c.record_key))"
        )
        return cursor.fetchone()[0]

    def known_among(self, cursor: Any, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are asked for, or of which a payload is kept."""
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND c.record_key = ANY (%s)",
            [list(keys)],
        )
        held = {row[0] for row in cursor.fetchall()}
        return [key for key in dict.fromkeys(keys) if key in held]

    def some(self, cursor: Any, number: int) -> list[str]:
        """So many keys of current documents, by lot."""
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND c.asked "
            f"AND c.status = 'current' ORDER BY pg_catalog.random() LIMIT {number}"
        )
        return [row[0] for row in cursor.fetchall()]

    def well(self, cursor: Any) -> str | None:
        """The key of a current document, the one that was fetched last."""
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND c.asked "
            f"AND c.status = 'current' ORDER BY c.checked_at DESC LIMIT 1"
        )
        found = cursor.fetchone()
        return found and found[0]

    def make_due(self, cursor: Any, keys: Sequence[str]) -> None:
        """Let the next run fetch these, whenever they were fetched."""
        cursor.execute(
            f"UPDATE {self.books.checks} AS c SET status = 'unfetched' "
            f"WHERE c.{self.books.mine} AND c.record_key = ANY (%s)",
            [list(keys)],
        )

    def unasked(self, cursor: Any, *, kept: bool) -> list[str]:
        """Keys that nobody asks for any more and that may be in quarantine for what no run tries again.

        Args:
            kept: those of which a payload is kept, or those of which nothing is. A kept one that breaks the contract,
                or waits for others, does so as before.
        """
        bad, there = ("'failed'", "") if kept else ("'failed', 'refused', 'waiting'", "NOT ")
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c WHERE c.{self.books.mine} AND NOT c.asked "
            f"AND c.status IN ({bad}) AND {there}{self._is_kept} ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]

    def forget_unasked(self, cursor: Any) -> None:
        """Forget what came last of those that nobody asks for any more: they are asked at once when they are back."""
        checks, mine = self.books.checks, self.books.mine
        cursor.execute(f"DELETE FROM {checks} AS c WHERE c.{mine} AND NOT c.asked AND NOT {self._is_kept}")
        cursor.execute(
            f"UPDATE {checks} AS c SET status = 'unfetched' WHERE c.{mine} AND NOT c.asked AND c.status = 'failed'"
        )

    def forget_gone(self, cursor: Any) -> None:
        """Forget those that the source has no more and of which nothing was ever kept, such as an item of a list that
        had no key: no list names them again."""
        cursor.execute(
            f"DELETE FROM {self.books.checks} AS c "
            f"WHERE c.{self.books.mine} AND c.status = 'absent' AND NOT {self._is_kept}"
        )

    @property
    def _is_kept(self) -> str:
        """Condition on `c`: a payload of it is kept."""
        payloads, mine = self.books.payloads, self.books.mine
        return f"EXISTS (SELECT FROM {payloads} AS p WHERE p.{mine} AND p.record_key = c.record_key)"

    def absent_among(self, cursor: Any, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the source said it has not."""
        cursor.execute(
            f"SELECT c.record_key FROM {self.books.checks} AS c "
            f"WHERE c.{self.books.mine} AND c.status = 'absent' AND c.record_key = ANY (%s)",
            [list(keys)],
        )
        return [row[0] for row in cursor.fetchall()]


def overdue(every: timedelta) -> str:
    """Condition on `c`: nothing was asked within this interval."""
    span = literal(f"{every.total_seconds()} s")
    return f"c.status = 'unfetched' OR c.checked_at <= pg_catalog.now() - {span}::interval"


def before(moment: datetime | None) -> str:
    """Condition on `c`: nothing was asked since a moment; for None, never."""
    never = "c.checked_at IS NULL"
    return never if moment is None else f"{never} OR c.checked_at < {literal(moment.isoformat())}::timestamptz"


_FORBIDDEN = "c.http_status IS NOT DISTINCT FROM 403"

FAILED = f"c.status = 'failed' AND NOT ({_FORBIDDEN})"
"""Condition on `c`: it was not answered; each run tries it again. One that is forbidden waits for its interval."""

_TURN = f"CASE WHEN c.status <> 'failed' THEN 1 WHEN {_FORBIDDEN} THEN 2 ELSE 0 END"
