"""A history (`lake.history`) that a SQL warehouse writes: it also looks for each record's newest state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY, UNDELETED, BatchResult, Deletion
from sync_pipelines.targets.databricks.settings import TableName, quoted
from sync_pipelines.targets.databricks.statements import KEYS, Relation, names
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.databricks.warehouse import listed
from sync_pipelines.targets.databricks.writing import Writer
from sync_pipelines.targets.lake.groups import Group
from sync_pipelines.targets.lake.history import LAST, History, due, ended
from sync_pipelines.targets.lake.shape import DELETED, SYNCED_AT, VERSION
from sync_pipelines.targets.lake.table import is_stranger

_GONE, _NUMBER = f"coalesce({DELETED}, false)", f"coalesce({VERSION}, 0)"
_NUMBER_OF_T, _GONE_OF_T = f"coalesce(t.{VERSION}, 0)", f"coalesce(t.{DELETED}, false)"
_RANK = quoted("its rank")
"""A name with a blank, which no column of the table has."""
_ANSWER = pa.schema([(KEY, pa.string()), (VERSION, pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The newest state of each record; one that the table holds twice comes twice.

    Args:
        among: the relation of the keys that are asked for; else each record, and every row without a key.
        gone: records that are gone, too. once: of a state that is there twice one row.
    """

    table: TableName
    among: str | None = None
    gone: bool = False
    once: bool = False

    @property
    def sql(self) -> str:
        """The rows in a statement, each with all columns of the table."""
        chosen = f" AS t LEFT SEMI JOIN {self.among} AS s ON t.{KEY} = s.{KEY}" if self.among else ""
        rank = (
            f"{'row_number' if self.once else 'rank'}() OVER (PARTITION BY {KEY} ORDER BY {_NUMBER} DESC, {_GONE} ASC)"
        )
        there = "" if self.gone else f" AND NOT {_GONE}"
        return (
            f"(SELECT * FROM (SELECT *, {rank} AS {_RANK} FROM {self.table.sql}{chosen}) "
            f"WHERE ({_RANK} = 1 OR {KEY} IS NULL){there})"
        )


class HistoryWriter(Writer):
    """Appends the records of a group whose newest state is another one."""

    def _write(self, group: Group) -> BatchResult:
        rows, done = due(group, self._newest_of_unlike(group))
        if rows.num_rows:
            self.before_write()
            self._append(rows)
        return done

    def _newest_of_unlike(self, group: Group) -> dict[str, int]:
        """Of each record that is to be appended the newest version, 0 for none."""
        columns = group.rows.schema.names if self.doubt == "values" else [KEY, FINGERPRINT]
        same = "false" if self.doubt == "all" else self._written(columns)
        with self.staging.staged(group.rows.select(columns)) as staged:
            query = _unlike(self.table, staged, same=same)
            found = self.warehouse.stream(query, doing=f"ask what table {self.table} holds")
            rows = (row for batch in found for row in batch.cast(_ANSWER).to_pylist())
            return {row[KEY]: row[VERSION] for row in rows}

    def _append(self, rows: pa.Table) -> None:
        """One MERGE that only inserts: unlike an INSERT it fails where somebody appends meanwhile.

        Sent twice, since an answer was lost, it adds nothing: a state of the version that was planned is there.
        """
        columns = [name for name in rows.schema.names if name != VERSION]
        same = f"{self._written(columns)} AND {_NUMBER_OF_T} >= s.{VERSION}"
        if self.layout.sort_by:
            rows = rows.sort_by(self.layout.sort_by)
        with self.staging.staged(rows) as staged:
            states = (
                f"SELECT {', '.join(f's.{quoted(name)}' for name in columns)}, u.{VERSION} + 1 AS {VERSION} "
                f"FROM {staged} AS s JOIN ({_unlike(self.table, staged, same=same)}) AS u ON u.{KEY} = s.{KEY}"
            )
            statement = _insert(self.table, states, columns, gone=False, stamped=self.shape.stamped)
            self.warehouse.run(statement, doing=f"write table {self.table}")


class DatabricksHistory(History, DatabricksTarget):
    """See `lake.history`; made as `DatabricksTarget` is. Of rows without `_key` each is a record of its own."""

    writer = HistoryWriter
    unproven = (VERSION, DELETED)

    @property
    def now(self) -> Relation:
        """The newest states of what is there."""
        return Newest(table=self.table)

    def _of_keys(self, columns: Sequence[str]) -> str:
        return f"SELECT {names(columns)} FROM {Newest(table=self.table, among=KEYS).sql}"

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Append to each of these records that it is gone, beside what it held last; a stranger's row is removed."""
        asked = [key for key in keys if not is_stranger(key)]
        found = self._rows_of(asked, [KEY, VERSION])
        there = {row[KEY]: row[VERSION] or 0 for batch in found for row in batch.to_pylist()}
        full = [key for key, version in there.items() if version >= LAST]
        if plain := sorted(there.keys() - set(full)):
            self._commit(self._burial(), "delete from table", keys=listed(plain))
        strangers = super().delete([key for key in keys if is_stranger(key)])
        return Deletion(deleted=len(plain) + strangers.deleted, refused=ended(full, stage=UNDELETED))

    def _burial(self) -> str:
        """Sent twice it adds nothing: the newest state is that the record is gone."""
        own = {FINGERPRINT, VERSION, DELETED, *([SYNCED_AT] if self.shape.stamped else [])}
        columns = [name for name in self.shape.schema.names if name not in own]
        last = Newest(table=self.table, among=KEYS, once=True)
        states = f"SELECT {names(columns)}, {_NUMBER} + 1 AS {VERSION} FROM {last.sql}"
        return _insert(self.table, states, columns, gone=True, stamped=self.shape.stamped)


def _unlike(table: TableName, staged: str, *, same: str) -> str:
    """Of staged rows those whose newest state is another one or is there twice: key, and that one's version."""
    newest = Newest(table=table, among=staged, gone=True)
    return (
        f"SELECT s.{KEY} AS {KEY}, max({_NUMBER_OF_T}) AS {VERSION} "
        f"FROM {staged} AS s LEFT JOIN {newest.sql} AS t ON t.{KEY} = s.{KEY} GROUP BY s.{KEY} "
        f"HAVING count(t.{KEY}) <> 1 OR NOT bool_and({same} AND NOT {_GONE_OF_T})"
    )


def _insert(table: TableName, states: str, columns: Sequence[str], *, gone: bool, stamped: bool) -> str:
    """Append states, whose `_version` a query gives, and of which none is there yet."""
    given = {quoted(name): f"s.{quoted(name)}" for name in [*columns, VERSION]}
    given |= {DELETED: str(gone).lower(), **({SYNCED_AT: "current_timestamp()"} if stamped else {})}
    return (
        f"MERGE INTO {table.sql} AS t USING ({states}) AS s ON t.{KEY} = s.{KEY} AND t.{VERSION} = s.{VERSION} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(given)}) VALUES ({', '.join(given.values())})"
    )
