"""Which records differ between a source and a target: streamed, in constant memory.

Both sides are added up in buckets of keys (count and sum of fingerprints, `engine.sums`); only the keys of buckets
that differ are joined, in a temporary SQLite file, never in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import BUCKETS, DOUBLED, HELD_TWICE, Digest, Listing, bucket_of
from sync_pipelines.engine.spool import Spool
from sync_pipelines.engine.sums import added_up

Kind = Literal["missing", "stale", "extra", "arrived", "gone", "righted"]
"""The first three are differences; the others are keys that stand on a list of the ledger and no longer differ."""


@dataclass(frozen=True, order=True)
class Difference:
    """A key that differs: `missing` from the target, `stale` there, or `extra` (the source lacks it).

    `reason` says what a look at the values found; `broken`: something that the target derives (a vector) is
    wrong although the values are right, so that it must be made anew.
    """

    key: str
    kind: Kind
    reason: str = ""
    broken: bool = False


@contextmanager
def scratch(folder: Path | None = None) -> Generator[sqlite3.Connection]:
    """A SQLite database in a file of its own that is gone afterwards; its page cache is 16 MB at most.

    Raises:
        RunError: there is no room for it.
    """
    with (
        # a spool's folder: what a killed process left of it goes with the next one
        closing(Spool(folder)) as spool,
        # whoever hands rows to another thread waits for it: no two threads use the connection at a time
        closing(
            sqlite3.connect(spool.folder / "keys.sqlite", isolation_level=None, check_same_thread=False)
        ) as connection,
    ):
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-16000")
        try:
            yield connection
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            raise RunError(
                f"the temporary file {str(spool.folder)!r} of a comparison cannot be written: {error}.",
                remedy=f"Free space there, or set {spool.setting} to another folder.",
            ) from error


def differing_buckets(left: Mapping[int, Digest], right: Mapping[int, Digest]) -> set[int]:
    """The buckets whose count or sum differs."""
    return {b for b in left.keys() | right.keys() if left.get(b, Digest()) != right.get(b, Digest())}


@dataclass
class Comparison:
    """The differences of one comparison, kept in a file; counts are exact, keys stream in key order.

    Args:
        buckets: those that differed.
        source_count, target_count: what each side has listed or added up, the source's in keys and the target's in
            records as it holds them, copies included; None where nobody listed them.
        copies: records of the target that have the key of another one.
        full_sync_due: why the next run reads everything, where differences were explained by that.
    """

    connection: sqlite3.Connection
    buckets: set[int] = field(default_factory=set)
    source_count: int | None = None
    target_count: int | None = None
    copies: int = 0
    full_sync_due: str = ""

    def note(self, found: Iterable[Difference]) -> None:
        """Add differences; one of a key that differs already adds its reason to it."""
        self.connection.execute("BEGIN")
        rows = ((item.key, item.kind, item.reason, item.broken) for item in found)
        self.connection.executemany(_NOTE, rows)
        self.connection.execute("COMMIT")

    def leave_out(self, keys: Iterable[str], *, label: str) -> None:
        """Move these keys from the differences to a class of their own (`quarantined`, `pending`, …)."""
        self.connection.execute("BEGIN")
        self.connection.executemany("UPDATE difference SET kind = ? WHERE key = ?", ((label, key) for key in keys))
        self.connection.execute("COMMIT")

    def leave_out_of(self, kinds: Sequence[str], keys: Iterable[str], *, label: str) -> None:
        """As `leave_out`, of keys that are of these kinds now."""
        move = f"UPDATE difference SET kind = ? WHERE key = ? AND kind IN ({_marks(kinds)})"
        self.connection.execute("BEGIN")
        self.connection.executemany(move, ((label, key, *kinds) for key in keys))
        self.connection.execute("COMMIT")

    def flag(self, keys: Iterable[str]) -> None:
        """Mark keys that were left out, for whoever asks for them by `flagged`."""
        self.connection.execute("BEGIN")
        self.connection.executemany("UPDATE difference SET broken = 1 WHERE key = ?", ((key,) for key in keys))
        self.connection.execute("COMMIT")

    def drop(self, keys: Iterable[str]) -> None:
        """These keys are no differences any more: a second look found them equal."""
        forget = f"UPDATE difference SET kind = '{_SETTLED}', reason = '', broken = 0 WHERE key = ?"
        self.connection.execute("BEGIN")
        self.connection.executemany(forget, ((key,) for key in keys))
        self.connection.execute("COMMIT")

    def accounted(self) -> int:
        """By how many records the source's listing was longer than the target's, as the keys themselves say.

        Every key that only one side has listed counts, and every copy in the target, whatever was found out about it
        since: that it is pending, quarantined, excluded, or was synced between the two listings.
        """
        query = "SELECT count(*) FILTER (WHERE was = 'missing') - count(*) FILTER (WHERE was = 'extra') FROM difference"
        return int(self.connection.execute(query).fetchone()[0]) - self.copies

    def count(self, kind: str) -> int:
        row = self.connection.execute("SELECT count(*) FROM difference WHERE kind = ?", (kind,)).fetchone()
        return int(row[0])

    def keys(self, *kinds: str, size: int = 1000) -> Iterator[list[str]]:
        """The keys of these kinds, in batches; the file may be changed between two batches."""
        last: str | None = None
        chosen = f"kind IN ({_marks(kinds)}) AND (? IS NULL OR key > ?)"
        query = f"SELECT key FROM difference WHERE {chosen} ORDER BY key LIMIT ?"
        while found := [row[0] for row in self.connection.execute(query, (*kinds, last, last, size))]:
            yield found
            last = found[-1]

    def named(self, *kinds: str, size: int = 1000) -> Iterator[list[Difference]]:
        """The differences of these kinds with their reasons, in batches, in key order."""
        # marks and no JSON: SQLite reads a text in JSON to its first NUL, which a stranger's id may hold
        for keys in self.keys(*kinds, size=size):
            chosen = f"key IN ({_marks(keys)}) AND kind IN ({_marks(kinds)})"
            query = f"SELECT key, kind, reason, broken FROM difference WHERE {chosen} ORDER BY key"
            rows = self.connection.execute(query, (*keys, *kinds))
            yield [Difference(key, kind, reason, bool(broken)) for key, kind, reason, broken in rows]

    def sample(self, kind: str, size: int = 20) -> list[str]:
        return next(self.keys(kind, size=size), [])

    def among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are missing, stale or extra."""
        return self._chosen(keys, "AND kind IN ('missing', 'stale', 'extra')")

    def labels(self, keys: Sequence[str]) -> dict[str, str]:
        """What those of `keys` are that differ, or differ for a known reason: a kind of difference, or a class."""
        query = (
            f"SELECT key, kind FROM difference WHERE key IN ({_marks(keys)}) AND kind NOT IN ('{_SETTLED}', 'righted')"
        )
        return dict(self.connection.execute(query, list(keys)))

    def ever_among(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are differences or were, whatever they were found to be since."""
        return self._chosen(keys, "")

    def _chosen(self, keys: Sequence[str], condition: str) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(keys), _KEYS_A_QUESTION):
            page = keys[start : start + _KEYS_A_QUESTION]
            query = f"SELECT key FROM difference WHERE key IN ({_marks(page)}) {condition}"
            found.update(key for (key,) in self.connection.execute(query, page))
        return found

    def reasons(self, keys: Iterable[str]) -> dict[str, str]:
        """What a look at the values found, of those of these keys of which anything is known."""
        wanted = list(keys)
        query = f"SELECT key, reason FROM difference WHERE reason <> '' AND key IN ({_marks(wanted)})"
        return dict(self.connection.execute(query, wanted))

    def by_bucket(self, *kinds: str) -> dict[int, int]:
        """How many keys of these kinds each bucket holds; buckets without any are left out."""
        found: dict[int, int] = {}
        for keys in self.keys(*kinds):
            for key in keys:
                found[bucket_of(key)] = found.get(bucket_of(key), 0) + 1
        return found


def _marks(values: Collection[str]) -> str:
    return ",".join("?" * len(values))


_SETTLED = "settled"
_KEYS_A_QUESTION = 10_000

# `was`: what the two listings said of the key; empty where it was found otherwise.
_TABLE = """
CREATE TABLE difference (
    key TEXT PRIMARY KEY, kind TEXT, reason TEXT NOT NULL DEFAULT '', broken INTEGER NOT NULL DEFAULT 0,
    was TEXT NOT NULL DEFAULT '') WITHOUT ROWID
"""

_NOTE = f"""
INSERT INTO difference (key, kind, reason, broken) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET broken = max(broken, excluded.broken),
    kind = CASE WHEN kind IN ('{_SETTLED}', 'righted') THEN excluded.kind ELSE kind END, reason = CASE
    WHEN reason = '' THEN excluded.reason
    WHEN instr(reason, excluded.reason) THEN reason
    ELSE reason || '; ' || excluded.reason END
"""

# A key that a side lists twice differs, whatever the other one holds of it.
_JOIN = f"""
CREATE INDEX source_key ON source (key);
CREATE INDEX target_key ON target (key);
CREATE TABLE doubled AS SELECT key, count(*) - 1 AS surplus FROM source GROUP BY key HAVING count(*) > 1;
CREATE TABLE copied AS SELECT key, count(*) - 1 AS surplus FROM target GROUP BY key HAVING count(*) > 1;
INSERT INTO difference (key, kind, reason)
SELECT key, iif(EXISTS (SELECT 1 FROM target t WHERE t.key = d.key), 'stale', 'missing'), '{DOUBLED}' FROM doubled d;
INSERT OR IGNORE INTO difference (key, kind, reason)
SELECT key, iif(EXISTS (SELECT 1 FROM source s WHERE s.key = c.key), 'stale', 'extra'), '{HELD_TWICE}' FROM copied c;
INSERT OR IGNORE INTO difference (key, kind)
SELECT s.key, CASE WHEN t.key IS NULL THEN 'missing' ELSE 'stale' END
FROM source s LEFT JOIN target t ON t.key = s.key
WHERE t.key IS NULL OR t.fingerprint IS NOT s.fingerprint;
INSERT OR IGNORE INTO difference (key, kind)
SELECT t.key, 'extra' FROM target t WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.key = t.key);
UPDATE difference SET was = kind;
"""


@contextmanager
def compare(source: Listing, target: Listing, *, folder: Path | None = None) -> Generator[Comparison]:
    """The differences between two sides, each asked itself.

    A side that can add up its buckets (`digests`) is listed only where buckets differ; one that cannot is
    listed once, into a file.

    Args:
        source, target: both sides; a null fingerprint in the target is a record that the sync did not write.
        folder: where the temporary file goes; the system's default if None.
    """
    with scratch(folder) as connection, closing(Spool(folder)) as spool:
        sides = added_up(source, target, spool)
        buckets = differing_buckets(*(side.sums for side in sides))
        for name, side in zip(("source", "target"), sides, strict=True):
            connection.execute(f"CREATE TABLE {name} (key TEXT, fingerprint TEXT)")
            if buckets:
                _add(connection, name, side.rows(_selection(buckets)))
        connection.execute(_TABLE)
        connection.executescript(_JOIN)
        here, there = (side.count for side in sides)
        surplus, copies = _surplus(connection, "doubled"), _surplus(connection, "copied")
        yield Comparison(connection, buckets, source_count=here - surplus, target_count=there, copies=copies)


def _add(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[str, str | None]]) -> None:
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
    connection.execute("COMMIT")


@contextmanager
def nothing_yet(folder: Path | None = None) -> Generator[Comparison]:
    """A comparison without any difference, for those that are found key by key."""
    with scratch(folder) as connection:
        connection.execute(_TABLE)
        yield Comparison(connection)


def _surplus(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(sum(surplus), 0) FROM {table}").fetchone()[0])


def _selection(buckets: set[int]) -> Collection[int] | None:
    """None (everything) where nearly every bucket differs: one plain scan is cheaper than a filter."""
    return None if len(buckets) > BUCKETS * 0.9 else sorted(buckets)
