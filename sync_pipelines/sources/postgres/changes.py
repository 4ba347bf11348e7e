"""Reading a change set out of one snapshot into temporary files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.capture import NULL_KEY
from sync_pipelines.engine.model import KEY, ChangeSet, Scope, Watermark
from sync_pipelines.engine.spool import KeyWriter, Progress, RecordWriter, Spool
from sync_pipelines.engine.sql import literal
from sync_pipelines.sources.postgres.continuity import TRUNCATED
from sync_pipelines.sources.postgres.reading import Reading
from sync_pipelines.sources.postgres.sql import keys_query

SMALL = 1000
"""Up to so many keys a set is read by psycopg2, which connects faster; beyond by ADBC, which reads faster."""

_ORDERED = 10_000
KEYS_A_STATEMENT = 5000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be read.

    Args:
        full: the whole table, and why, if nobody asked for it.
        touched: how many keys the unread log names (trigger), or somebody has named.
        bulk: whether it is worth a connection of ADBC.
    """

    full: bool = False
    reason: str = ""
    touched: int = 0
    bulk: bool = False


def plan(reading: Reading, scope: Scope, since: Watermark | None) -> Plan:
    """Decide what a run reads, from facts of the reading's own snapshot."""
    if scope.keys is not None:
        return Plan(touched=len(scope.keys), bulk=len(scope.keys) > SMALL)
    if scope.full:
        reading.kind  # noqa: B018 - raises where the capture is missing, before anything is read
        return Plan(full=True, reason=scope.reason, bulk=True)
    reason = reading.full_reason(since)
    if reason is not None or since is None:
        return Plan(full=True, reason=reason or "", bulk=True)
    many = scope.window is not None or len(scope.also) > SMALL
    if reading.kind == "outbox":
        return Plan(reason=scope.reason, bulk=many)
    if reading.kind == "cursor":
        return Plan(reason=scope.reason, bulk=many or _many_news(reading, since))
    touched, truncated = reading.count_touched(since)
    if truncated:
        return Plan(full=True, reason=TRUNCATED, bulk=True)
    return Plan(reason=scope.reason, touched=touched, bulk=many or touched > SMALL)


def _many_news(reading: Reading, since: Watermark) -> bool:
    rows = reading.session.all(
        f"SELECT count(*) AS rows FROM (SELECT FROM {reading.info.sql} AS t "
        f"WHERE {reading.reread(since)} LIMIT {SMALL + 1}) AS n"
    )
    return rows[0]["rows"] > SMALL


def read_changes(
    reading: Reading, scope: Scope, since: Watermark | None, plan: Plan, *, folder: Path | None, casts: bool = True
) -> ChangeSet:
    """Read what the plan says into a spool; the transaction may be closed when this returns.

    Args:
        folder: where spools are made; None is the default place.
        casts: False compares keys as texts, for keys that are no values of the key column's type.
    """
    with ExitStack() as stack:
        spool = Spool(folder)
        stack.callback(spool.close)
        with RecordWriter(spool, "upserts", reading.sql.schema) as rows, KeyWriter(spool, "deletes") as keys:
            writer = Writer(reading, rows, keys, casts)
            _read(writer, scope, since, plan)
        changes = ChangeSet(
            upserts=rows.records(),
            deletes=keys.keys(),
            watermark=reading.watermark(since) if scope.keys is None else None,
            full=plan.full,
            doubt=reading.doubt(since) if plan.full else None,
            reason=plan.reason,
            source_empty=reading.session.all(reading.sql.is_empty())[0]["empty"],
            rows=rows.rows,
            touched=plan.touched + (0 if plan.full else len(scope.also)),
            on_close=[spool.close],
        )
        stack.pop_all()
        return changes


def read_meanwhile(
    open_reading: Callable[[], AbstractContextManager[Reading]],
    scope: Scope,
    since: Watermark | None,
    *,
    folder: Path | None,
) -> ChangeSet:
    """Read a whole table in a thread of its own: the change set is there when its snapshot is taken.

    Rows are spooled as fast as the source gives them, whatever their reader does, and the transaction is closed then.
    What fails after the snapshot comes out where the rows are read.

    Args:
        open_reading: a reading transaction, opened and closed in the thread.
    """
    begun: Future[ChangeSet] = Future()
    progress, stopped = Progress(), Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            with open_reading() as reading:
                _read_on(reading, scope, since, folder=folder, progress=progress, begun=begun, stopped=stopped)
        except BaseException as failure:
            error = failure
            if not begun.done():
                begun.set_exception(failure)
        progress.end(error)

    thread = Thread(target=copy_context().run, args=(work,), name="reading", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join()

    try:
        changes = begun.result()
    except BaseException:
        stop()
        raise
    changes.on_close.append(stop)
    return changes


def _read_on(
    reading: Reading,
    scope: Scope,
    since: Watermark | None,
    *,
    folder: Path | None,
    progress: Progress,
    begun: Future[ChangeSet],
    stopped: Event,
) -> None:
    decided, sql = plan(reading, scope, since), reading.sql
    number = reading.session.all(sql.lines())[0]["lines"]
    watermark = reading.watermark(since)
    spool = Spool(folder)
    with ExitStack() as stack:
        stack.callback(lambda: None if begun.done() else spool.close())
        rows = stack.enter_context(RecordWriter(spool, "upserts", sql.schema, progress=progress))
        with KeyWriter(spool, "deletes") as keys:
            pass
        begun.set_result(
            ChangeSet(
                upserts=rows.records(),
                deletes=keys.keys(),
                watermark=watermark,
                full=True,
                doubt=reading.doubt(since),
                reason=decided.reason,
                source_empty=not number,
                rows=number,
                touched=decided.touched,
                on_close=[spool.close],
            )
        )
        for batch in reading.session.stream(sql.rows(), sql.schema):
            if stopped.is_set():
                return
            rows.write(batch)


def _read(writer: Writer, scope: Scope, since: Watermark | None, plan: Plan) -> None:
    reading = writer.reading
    if plan.full:
        writer.rows_of(reading.sql.rows())
    elif scope.keys is not None:
        for start in range(0, len(scope.keys), KEYS_A_STATEMENT):
            writer.keys_of(keys_query(scope.keys[start : start + KEYS_A_STATEMENT]), len(scope.keys))
    else:
        assert since is not None
        if reading.kind == "cursor":
            _read_cursor(writer, scope, since)
        else:
            _read_log(writer, scope, since, plan.touched)


def _read_log(writer: Writer, scope: Scope, since: Watermark, number: int) -> None:
    """The touched keys, and those that wait; then, for a window, the other rows in it (without a change time all)."""
    sql = writer.reading.sql
    queries = [f"({writer.reading.touched(since, number)})"] if number else []
    queries += [f"({_listed(scope.also)})"] if scope.also else []
    touched = " UNION ".join(queries)
    if touched:
        writer.keys_of(touched, number + len(scope.also))
    if scope.window is None:
        return
    if sql.changed_at is None:
        writer.rows_of(sql.everything_but(touched or None))
    else:
        writer.rows_of(sql.in_window(scope.window, nulls=scope.nulls, but=touched or None))


def _read_cursor(writer: Writer, scope: Scope, since: Watermark) -> None:
    sql = writer.reading.sql
    news = writer.reading.reread(since)
    other = f" AND {sql.key} NOT IN ({_listed(scope.also)})" if scope.also else ""
    writer.rows_of(sql.rows(f"({news}){other}"))
    if scope.window is not None:
        rest = sql.in_window(scope.window, nulls=False, but=None)
        writer.rows_of(f"{rest} AND NOT ({news}){other}")
    if scope.also:
        writer.keys_of(_listed(scope.also), len(scope.also))


def _listed(keys: Sequence[str]) -> str:
    """A query of these keys, of which there may be many: JSON is read faster than as many literals."""
    texts = json.dumps(list(keys), ensure_ascii=False)
    return f"SELECT v.key FROM pg_catalog.json_array_elements_text({literal(texts)}::json) AS v(key)"


@dataclass(frozen=True)
class Writer:
    """Where rows and deletes of one reading go."""

    reading: Reading
    rows: RecordWriter
    deletes: KeyWriter
    casts: bool = True

    def rows_of(self, query: str) -> None:
        """Every row of a query."""
        for batch in self.reading.session.stream(query, self.reading.sql.schema):
            self.rows.write(batch)

    def keys_of(self, touched: str, number: int) -> None:
        """The rows that a query of keys names; those that are not there are deletes."""
        sql = self.reading.sql
        query = sql.by_keys(touched, ordered=number <= _ORDERED) if self.casts else sql.by_key_text(touched)
        nulls: set[str] = set()
        for batch in self.reading.session.stream(query, sql.found_schema):
            found, lost = split_found(batch, sql.schema)
            self.rows.write(found)
            if self.reading.info.key_can_be_null:
                nulls.update(key for key in lost if is_null_key(key, parts=len(sql.info.key)))
            self.deletes.write([key for key in lost if key not in nulls])
        if nulls:
            self._rows_without_key(nulls)

    def _rows_without_key(self, touched: set[str]) -> None:
        """Rows whose key holds a NULL match no key: read them all; they go to quarantine."""
        for batch in self.reading.session.stream(self.reading.sql.without_key(), self.reading.sql.schema):
            self.rows.write(batch)
            touched.difference_update(batch.column(KEY).to_pylist())
        self.deletes.write(sorted(touched))


def split_found(batch: pa.RecordBatch, schema: pa.Schema) -> tuple[pa.RecordBatch, list[str]]:
    """The lines of `TableSql.by_keys`: rows that were found, and the keys that were not."""
    found = batch.column(0)
    rows = pa.RecordBatch.from_arrays(batch.columns[1:], schema=schema)
    lost = rows.column(KEY).filter(pc.call_function("invert", [found])).to_pylist()
    return rows.filter(found), lost


def is_null_key(key: str, *, parts: int) -> bool:
    """Whether a key's text holds a NULL."""
    return key == NULL_KEY if parts == 1 else None in json.loads(key)


def existing(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of `TableSql.by_keys` that were found."""
    for batch in batches:
        rows, _ = split_found(batch, schema)
        if rows.num_rows:
            yield rows
