"""A table, and a reader that keeps a dict equal to it: the smallest target there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from sync_pipelines.engine.model import FINGERPRINT, KEY, PROBLEM, ChangeSet, Scope, Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.source import PostgresSource


class Connection:
    """A psycopg2 connection that runs SQL."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def run(self, *statements: str, values: Any = None) -> None:
        with self.raw.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, values)

    def all(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        with self.raw.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def one(self, statement: str, values: Any = None) -> Any:
        return self.all(statement, values)[0][0]

    def commit(self) -> None:
        self.raw.commit()

    def rollback(self) -> None:
        self.raw.rollback()


ITEM = TableSpec(sync="shop", name="item", table="item", key=("id",), columns=("name", "amount"))


def make_item(db: Connection, rows: int = 3) -> None:
    """A table `item` with rows 1 to `rows`."""
    db.run(
        "CREATE TABLE item (id int PRIMARY KEY, name text, amount int DEFAULT 0, changed timestamptz DEFAULT now())",
        f"INSERT INTO item SELECT g, 'item ' || g FROM generate_series(1, {rows}) AS g",
    )


@dataclass
class Reader:
    """Reads changes and applies them to `rows` (key → values); `reads` counts how often a key came."""

    source: PostgresSource
    watermark: Watermark | None = None
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    fulls: list[str] = field(default_factory=list)

    def sync(self, scope: Scope | None = None) -> Read:
        """One run: read, apply, confirm."""
        with self.source.changes(scope or Scope(), since=self.watermark) as changes:
            read = self._apply(changes)
        if changes.watermark is not None:
            moves = changes.full or changes.rows or changes.touched
            self.watermark = self.source.mark(changes.watermark) if moves else changes.watermark
            self.source.confirmed(self.watermark)
        return read

    def _apply(self, changes: ChangeSet) -> Read:
        upserts = [row for batch in changes.upserts for row in batch.to_pylist()]
        deletes = [key for keys in changes.deletes for key in keys]
        if changes.full:
            self.fulls.append(changes.reason)
            self.rows.clear()
        for row in upserts:
            self.reads[row[KEY]] += 1
            if row[PROBLEM]:
                self.problems[row[KEY]] = row[PROBLEM]
            self.rows[row[KEY]] = {name: value for name, value in row.items() if not name.startswith("_")}
        for key in deletes:
            self.reads[key] += 1
            self.rows.pop(key, None)
        return Read([row[KEY] for row in upserts], deletes, changes.full, changes.reason, upserts)


@dataclass(frozen=True)
class Read:
    """What one run brought."""

    upserts: list[str]
    deletes: list[str]
    full: bool
    reason: str
    rows: list[dict[str, Any]]

    def fingerprints(self) -> dict[str, str]:
        return {row[KEY]: row[FINGERPRINT] for row in self.rows}


def reader(url: str, spec: TableSpec = ITEM, *, installed: bool = True, **options: Any) -> Reader:
    """A reader of a table whose capture is installed."""
    if installed and spec.capture != "cursor":
        install(url, spec)
    return Reader(PostgresSource(url, spec, **options))


def spec_of(**changes: Any) -> TableSpec:
    """`ITEM` with changes."""
    return replace(ITEM, **changes)
