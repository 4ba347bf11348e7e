"""What the books and tables say of documents as a whole: coverage, failures, plausibility, fields. Plain SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync_pipelines.targets.rowsets.books import STATUSES
from sync_pipelines.targets.rowsets.layout import SqlTable
from sync_pipelines.targets.rowsets.marking import BACK
from sync_pipelines.targets.rowsets.paths import general, paths
from sync_pipelines.targets.rowsets.reading import rows
from sync_pipelines.targets.rowsets.target import RowsetTarget

_LOOKED_AT = 2000
"""So many payloads, those that changed last, are looked at for their fields."""

_SAMPLES = 20

_NUMBERS = frozenset({"integer", "numeric", "real", "float"})
"""Kinds of columns that have a lowest and a highest value."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many of the documents that are asked for are in which state, and why the worst are.

    Args:
        by_day: day of the last fetch (UTC, ISO) → how many.
    """

    states: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    by_day: Mapping[str, int]

    @property
    def asked(self) -> int:
        return sum(self.states.values())

    @property
    def failure_rate(self) -> float:
        """The share of those that were asked for and gave no document to write, though nobody said they are gone."""
        bad = self.states.get("failed", 0) + self.states.get("refused", 0)
        return bad / self.asked if self.asked else 0.0


def coverage(store: RowsetTarget) -> Coverage:
    """What the checks say now."""
    checks, mine = store.books.checks, store.books.mine
    with store.cursor() as cursor:
        states = rows(cursor, f"SELECT status, count(*) AS n FROM {checks} WHERE {mine} AND asked GROUP BY 1")
        reasons = rows(
            cursor,
            f"SELECT status, reason, count(*) AS n, min(record_key) AS key FROM {checks} "
            f"WHERE {mine} AND asked AND status <> 'current' AND reason IS NOT NULL "
            f"GROUP BY 1, 2 ORDER BY n DESC LIMIT {_SAMPLES}",
        )
        days = rows(
            cursor,
            f"SELECT (fetched_at AT TIME ZONE 'UTC')::date AS day, count(*) AS n FROM {checks} "
            f"WHERE {mine} AND fetched_at IS NOT NULL GROUP BY 1 ORDER BY 1 DESC LIMIT {_SAMPLES}",
        )
    held = {row["status"]: row["n"] for row in states}
    return Coverage(
        states={status: held[status] for status in STATUSES if status in held},
        reasons=[(row["key"], row["reason"], row["n"]) for row in reasons],
        by_day={row["day"].isoformat(): row["n"] for row in days},
    )


def absent(store: RowsetTarget) -> int:
    """How many of those that are asked for the source says it has not, and never had while we asked."""
    books = store.books
    with store.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {books.checks} AS c WHERE c.{books.mine} AND c.asked AND c.status = 'absent' "
            f"AND NOT EXISTS (SELECT FROM {books.payloads} AS p WHERE p.{books.mine} AND p.record_key = c.record_key)"
        )
        return cursor.fetchone()[0]


def marked(store: RowsetTarget, since: datetime) -> tuple[int, int]:
    """How many of those that were there once the source said since then (UTC) that it has no more, or has again."""
    books = store.books
    with store.cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.count(*) FILTER (WHERE c.status = 'absent'), "
            "pg_catalog.count(*) FILTER (WHERE c.status = 'current' AND c.reason = %s) "
            f"FROM {books.checks} AS c JOIN {books.payloads} AS p USING (part, record_key) "
            f"WHERE c.{books.mine} AND c.checked_at >= %s",
            [BACK, since],
        )
        return cursor.fetchone()


@dataclass(frozen=True, kw_only=True)
class Implausible:
    """A column with values outside of its range: how many, and the rows of some."""

    column: str
    lowest: float
    highest: float
    count: int
    samples: Sequence[str]


def implausible(store: RowsetTarget, ranges: Mapping[str, tuple[float, float]]) -> Iterator[Implausible]:
    """Columns of the first table whose values lie outside of their ranges; a column with none does not come."""
    table = store.layout.tables[0]
    _insist_on_numbers(store, table, ranges)
    keys = ", ".join(f"t.{table.column(name)}::text" for name in table.rows.identity)
    with store.cursor() as cursor:
        for name, (lowest, highest) in ranges.items():
            outside = f"t.{table.column(name)} NOT BETWEEN %s AND %s"
            cursor.execute(f"SELECT count(*) FROM {table.sql} AS t WHERE {outside}", [lowest, highest])
            count = cursor.fetchone()[0]
            if count:
                cursor.execute(
                    f"SELECT pg_catalog.concat_ws(', ', {keys}) FROM {table.sql} AS t WHERE {outside} "
                    f"ORDER BY 1 LIMIT {_SAMPLES}",
                    [lowest, highest],
                )
                samples = [row[0] for row in cursor.fetchall()]
                yield Implausible(column=name, lowest=lowest, highest=highest, count=count, samples=samples)


def _insist_on_numbers(store: RowsetTarget, table: SqlTable, ranges: Mapping[str, Any]) -> None:
    for name in ranges:
        if table.rows.kinds.get(name) not in _NUMBERS:
            numbers = [column for column, kind in table.rows.kinds.items() if kind in _NUMBERS]
            raise store.documents.error(
                f"plausible.{name}: {table.sql} has no such column of numbers.",
                f"Correct `plausible`; it has: {', '.join(numbers) or 'none'}.",
            )


@dataclass(frozen=True, kw_only=True)
class Fields:
    """How the fields of the payloads have moved: those that are new, and expected ones that no payload has any more.

    Args:
        looked_at: payloads.
    """

    looked_at: int
    new: Sequence[str] = ()
    vanished: Sequence[str] = ()
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


def fields(store: RowsetTarget) -> Fields:
    """The fields of the payloads that changed last, compared with those that are known; new ones are noted.

    What the first look finds is expected from then on.
    """
    found, looked_at = _fields_of_payloads(store)
    if not looked_at:
        return Fields(looked_at=0)
    with store.writing() as cursor:
        known = _known(cursor, store)
        _note(cursor, store, {path: found[path] for path in found if path not in known}, expected=not known)
    new = [path for path in found if not known.get(path, not known)]
    vanished = [path for path, expected in known.items() if expected and path not in found]
    return Fields(looked_at=looked_at, new=sorted(new), vanished=sorted(vanished), known=found)


def _known(cursor: Any, store: RowsetTarget) -> dict[str, bool]:
    """The paths that are noted, and whether they are expected; a name in them that is data is noted as `*` now."""
    noted, mine = store.books.table("fields"), store.books.mine
    held = rows(cursor, f"SELECT path, kinds, expected FROM {noted} WHERE {mine}")
    known: dict[str, bool] = {}
    for row in held:
        path = general(row["path"])
        known[path] = known.get(path, False) or row["expected"]
    if dated := [row for row in held if general(row["path"]) != row["path"]]:
        cursor.execute(f"DELETE FROM {noted} WHERE {mine} AND path = ANY (%s)", [[row["path"] for row in dated]])
        for row in dated:
            path = general(row["path"])
            _note(cursor, store, {path: row["kinds"]}, expected=known[path])
    return known


def _note(cursor: Any, store: RowsetTarget, new: Mapping[str, Sequence[str]], *, expected: bool) -> None:
    from psycopg2.extras import execute_values

    if new:
        values = [(store.books.part, path, list(kinds), expected) for path, kinds in new.items()]
        execute_values(
            cursor,
            f"INSERT INTO {store.books.table('fields')} (part, path, kinds, expected) VALUES %s ON CONFLICT DO NOTHING",
            values,
        )


def _fields_of_payloads(store: RowsetTarget) -> tuple[dict[str, list[str]], int]:
    """Path → kinds of value, and how many payloads were looked at."""
    found: dict[str, Counter[str]] = {}
    number = 0
    with store.cursor() as cursor:
        cursor.itersize = 100
        cursor.execute(
            f"SELECT payload FROM {store.books.payloads} WHERE {store.books.mine} "
            f"ORDER BY changed_at DESC LIMIT {_LOOKED_AT}"
        )
        while page := cursor.fetchmany(100):
            for (payload,) in page:
                number += 1
                for path, kind in set(paths(payload)):
                    found.setdefault(path, Counter())[kind] += 1
    return {path: sorted(kinds) for path, kinds in found.items()}, number
