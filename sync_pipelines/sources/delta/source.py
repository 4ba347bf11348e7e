"""A Delta table as a source: its changes by version, and the questions of a proof, whichever engine reads it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.keys import NamedKey, example
from sync_pipelines.engine.model import KEY, ChangeSet, FullRead, Pending, Scope, Watermark
from sync_pipelines.engine.sensitive import mask_of
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.delta.changes import Plan, read_changes, read_meanwhile, unique
from sync_pipelines.sources.delta.log import Commit, LostError, no_longer_holds
from sync_pipelines.sources.delta.moment import Conforming, Moment
from sync_pipelines.targets.lake.types import spell

_PAGE = 1000


@dataclass(frozen=True)
class DeltaColumn:
    """A column; `pg_type` is its type as Delta's SQL spells it."""

    name: str
    pg_type: str


@dataclass(frozen=True)
class DeltaShape:
    """A table's columns."""

    columns: Sequence[DeltaColumn]


class Table(Protocol):
    """What an engine brings (`folder`, `warehouse`). `name` and `place` are for sentences."""

    name: str
    place: str

    def is_there(self) -> bool: ...
    def resting(self) -> str | None: ...
    def now(self, conforming: Callable[[pa.Schema], Conforming]) -> Moment: ...


class DeltaSource:
    """A Delta table. Nothing is opened before the first question; each question pins one version.

    The change feed says which keys were touched, and the rows are read at the pinned version: a key that is not there
    is a delete. Where the feed was off, the files that were added and removed say it. Where neither can be told any
    more (VACUUM, log retention, RESTORE, another table in the same place), everything is read, with the reason.

    Args:
        table: reads it. spec: the table.
        conforming: brings rows with these columns to the target's types. spool: the folder of temporary files.
    """

    def __init__(
        self,
        table: Table,
        spec: TableSpec,
        *,
        conforming: Callable[[pa.Schema], Conforming],
        spool: Path | None = None,
    ) -> None:
        self.spec, self.name, self._table = spec, table.name, table
        self._conforming, self._spool = conforming, spool
        self._last_read: str | None = None
        self._otherwise: set[str] = set()

    def is_there(self) -> bool:
        """Whether somebody has made the table."""
        return self._table.is_there()

    def resting(self) -> str | None:
        """Why the table is not asked now unless a run needs it, or None."""
        return self._table.resting()

    def inspect(self) -> DeltaShape:
        """The columns of now.

        Raises:
            RunError: no such table, or column.
        """
        schema = self.columns()
        for name in self.spec.projection:
            if name not in schema.names:
                near = difflib.get_close_matches(name, schema.names, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(schema.names)}."
                raise self._error(f"the Delta table {self.name!r} has no column {name!r}.", hint)
        return DeltaShape([DeltaColumn(item.name, _type_of(item.type)) for item in schema])

    def columns(self) -> pa.Schema:
        """The columns in Arrow's plain types."""
        return self._now().schema

    def described(self) -> tuple[pa.Schema, str | None]:
        """The schema of this source's batches, and the table's comment."""
        moment = self._now()
        return moment.conforming.schema, moment.comment

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """Read what a run needs, from one version, into temporary files; see `engine.model.Scope`."""
        moment = self._to_read()
        return read_changes(moment, scope, self._plan(moment, scope, since), folder=self._spool)

    def changes_meanwhile(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """The same; of many rows just the keys, so that the rows can be read while they are written."""
        moment = self._to_read()
        return read_meanwhile(moment, scope, self._plan(moment, scope, since), folder=self._spool)

    def _to_read(self) -> Moment:
        moment = self._now()
        self._last_read = moment.name_of_state()
        return moment

    def _plan(self, moment: Moment, scope: Scope, since: Watermark | None) -> Plan:
        if scope.keys is not None:
            return Plan(touched=pa.array(scope.keys, pa.string()))
        if scope.full:
            return Plan(full=True, reason=scope.reason)
        try:
            touched = unique(self._touched(moment, since))
        except LostError as error:
            return Plan(full=True, reason=str(error))
        also = pa.array(scope.also, pa.string())
        return Plan(reason=scope.reason, touched=unique([touched, also]))

    def _touched(self, moment: Moment, since: Watermark | None) -> Iterator[pa.Array]:
        if since is None:
            raise LostError("first run")
        yield from moment.touched(since, self._continued(moment, since))

    def _continued(self, moment: Moment, since: Watermark) -> list[Commit]:
        """The commits after a watermark.

        Raises:
            LostError: everything must be read, and why.
        """
        for reason in self._reasons(moment, since):
            raise LostError(reason)
        found = moment.commits(int(since.position["version"]))
        if any(commit.operation.upper() == "RESTORE" for commit in found):
            raise LostError("the table was restored to an older version")
        return found

    def _reasons(self, moment: Moment, since: Watermark) -> Iterator[str]:
        if since.capture != "version":
            yield f"capture changed from {since.capture} to version"
        if since.source.system_identifier != moment.identity.system_identifier:
            yield "the Delta table was made anew (its id differs)"
        if since.source.database != moment.identity.database:
            yield f"the Delta table stands elsewhere (was {since.source.database!r})"
        if tuple(since.key) != self.spec.key:
            yield f"the key changed from ({', '.join(since.key)}) to ({', '.join(self.spec.key)})"
        if since.mapping != self.spec.mapping_hash or since.position.get("shape") != moment.conforming.shape:
            yield "the columns or their types changed"
        yield from _another_history(moment, since)

    @contextmanager
    def at_snapshot(self) -> Generator[Moment]:
        """Everything that is asked of the result is answered from one version, that of now."""
        yield self._now()

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of these keys, in the batches' full schema; keys that are not there are left out."""
        yield from self._now().rows_of(pa.array(keys, pa.string())) if keys else ()

    def named(self, keys: Sequence[str]) -> dict[str, NamedKey]:
        """The keys that somebody has named, each as PostgreSQL spells it.

        Raises:
            ConfigurationError: one is no value of the key columns' types.
        """
        if not keys:
            return {}
        moment = self._now()
        parts = [[key] if len(self.spec.key) == 1 else json.loads(key) for key in keys]
        columns = {name: [row[number] for row in parts] for number, name in enumerate(self.spec.key)}
        spelled, wrong = moment.conforming.spelled(columns)
        for row, why in wrong.items():
            mask = mask_of(self.spec)
            raise ConfigurationError(
                f"no key of this table{'' if mask.hides_keys else f' ({why})'}.",
                sync=self.spec.sync,
                table=self.spec.name,
                key=mask.key(keys[row]),
                remedy=example(self.spec.key),
            )
        there = moment.there(spelled.to_pylist())
        return {key: NamedKey(text, text in there) for key, text in zip(keys, spelled.to_pylist(), strict=True)}

    def pending(self, since: Watermark | None, *, limit: int = 10_000) -> Pending:
        """What the next run would read; a table that is not there yet waits for nothing.

        Raises:
            RunError: it is not there any more.
        """
        if since is None and not self.is_there():
            return Pending()
        moment = self._now()
        try:
            if since is None:
                raise LostError("first run")
            made = self._continued(moment, since)
            touched = unique(moment.touched(since, made))
        except LostError as error:
            return Pending(full_reason=str(error))
        oldest = next((commit.at for commit in made if commit.data), None)
        return Pending(changes=min(len(touched), limit), oldest=oldest if len(touched) else None)

    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]:
        """Keys that were touched after the watermark, in batches; none where the next run reads everything."""
        try:
            touched = unique(self._touched(self._now(), since))
        except LostError:
            return
        for start in range(0, len(touched), _PAGE):
            yield touched.slice(start, _PAGE).to_pylist()

    def full_read(self, since: Watermark | None) -> FullRead | None:
        """Why the next run will read everything, whose work all differences are then; None where it will not."""
        reason = self.pending(since).full_reason if since is not None else None
        return FullRead(reason=reason, explains=frozenset({"missing", "stale", "extra"})) if reason else None

    def capture_warnings(self) -> list[str]:
        """What an operator should know; `status` shows it."""
        return [] if self.is_there() else [f"there is no Delta table {self.name!r} yet"]

    def mark(self, watermark: Watermark) -> Watermark:
        """Nothing is left in a Delta table that others write."""
        return watermark

    def note(self, since: Watermark, run: str, *, before: str | None) -> bool:
        """Nor is the id of a run."""
        return False

    def knows(self, since: Watermark, run: str) -> bool:
        """None was left, so that none is missing."""
        return True

    def last_read(self) -> str | None:
        """The version and commit that the last change set was read at."""
        return self._last_read

    def went_through(self, read: str) -> bool:
        """Whether the table of now goes on from that version and commit; no where its log no longer says so."""
        return self._now().went_through(read)

    def confirmed(self, watermark: Watermark) -> bool:
        """A Delta table keeps its versions whoever reads them."""
        return True

    def _now(self) -> Moment:
        if not self.is_there():
            raise self._error(
                f"there is no Delta table {self.name!r} {self._table.place}.",
                "Run what writes it, put back what was there, or correct source.table.",
            )
        moment = self._table.now(self._conforming)
        moment.otherwise = self._otherwise
        return moment

    def _error(self, message: str, remedy: str) -> RunError:
        return RunError(message, sync=self.spec.sync, table=self.spec.name, remedy=remedy)


def _another_history(moment: Moment, since: Watermark) -> Iterator[str]:
    """Why the table's history is not the one that the watermark was taken of, although its id is the same."""
    version, commit = int(since.position["version"]), since.position.get("commit")
    if version > moment.version:
        yield f"the Delta table went back from version {version} to {moment.version}"
    elif commit is not None and (now := moment.commit_id(version)) != commit:
        other = f"version {version} is another commit than the one that was read (a copy that was put back?)"
        yield no_longer_holds(version) if now is None else other


def _type_of(kind: pa.DataType) -> str:
    try:
        return spell(kind)
    except RunError:
        return str(kind)


__all__ = ["KEY", "DeltaSource"]
