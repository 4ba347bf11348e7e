"""Rows that were looked at while others were written: what of them is to be written, and in which transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from sync_pipelines.engine.batches import among
from sync_pipelines.engine.ledger.bases import KnownBase
from sync_pipelines.engine.model import KEY, BatchResult
from sync_pipelines.targets.neo4j.judgement import EditedError, Judgement
from sync_pipelines.targets.neo4j.judging import Judge
from sync_pipelines.targets.neo4j.properties import Row
from sync_pipelines.targets.neo4j.writing import AgainError, Looked, Writer, transactions


class _Page(NamedTuple):
    """Rows of one transaction, also as parameters of its statement."""

    rows: pa.RecordBatch
    parameters: Sequence[Row]


class StagedRows:
    """Rows of a label or type; implements `engine.staging.Staged`.

    Args:
        rows: mapped, each key once. size: the most of them in a transaction.
        doubted: keys of those that somebody may have written before, which are judged by themselves.
        judge: where people edit the graph, too. check: called before the ledger is told of what is about to be written.
    """

    def __init__(
        self,
        writer: Writer,
        rows: pa.RecordBatch,
        *,
        size: int,
        doubted: Collection[str] = (),
        judge: Judge | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._writer, self._judge, self._size = writer, judge, size
        rows = rows.sort_by(KEY)
        self._found = Judgement(rows=rows) if judge is None else judge.ready(rows, doubted=doubted, check=check)
        # what was decided by itself is judged when its turn has come, and told before it is written
        self._odd = among(rows, self._found.odd)
        rows = rows if not self._odd.num_rows else among(rows, self._found.odd, outside=True)
        looked = self._look(rows)
        self._held, self._idle = looked.held, looked.result
        changed = among(rows, {row[KEY] for row in looked.rows})
        self._pages = [_Page(page, writer.properties.rows(page)) for page in transactions(changed, size)]
        self._quiet = list(set(rows.column(KEY).to_pylist()).difference(changed.column(KEY).to_pylist()))
        self._made: dict[str, KnownBase] = {}

    def _look(self, rows: pa.RecordBatch) -> Looked:
        """What of the rows is to be written. Of nodes the statement that writes sees it, so nobody asks before."""
        if self._judge is None and self._writer.elements.ends is None:
            self._writer.blind = True
            return Looked(rows=rows.select([KEY]).to_pylist())
        return self._writer.judge(rows)

    def write(self) -> Iterator[BatchResult]:
        if self._quiet:
            self._keep_after(self._quiet, self._idle)
            yield replace(self._idle, keys=self._quiet)
        try:
            for page in self._pages:
                yield from self._written(page)
        finally:
            self._note_made()
        for page in transactions(self._odd, self._size):
            yield from self._anew(page)

    def _written(self, page: _Page) -> Iterator[BatchResult]:
        # set anew for each: what was looked at again meanwhile has other expectations
        self._writer.expected = None if self._judge is None else self._judge.expecting(self._found.held)
        try:
            result = self._writer.bring(page.rows, page.parameters, self._held)
        except (AgainError, EditedError):
            yield from self._anew(page.rows)
            return
        keys = page.rows.column(KEY).to_pylist()
        self._keep_after(keys, result)
        yield replace(result, keys=keys)

    def _anew(self, rows: pa.RecordBatch) -> Iterator[BatchResult]:
        """Look at rows again, and write them."""
        if self._judge is not None:
            self._judge.take_back(self._found, rows.column(KEY).to_pylist())
            yield from self._judge.bring(rows)
            return
        yield replace(self._writer.bring_anew(rows), keys=rows.column(KEY).to_pylist())

    def _keep_after(self, keys: Sequence[str], result: BatchResult) -> None:
        bad = {item.key for item in result.rejected}
        if self._judge is not None:
            self._judge.take_back(self._found, bad)
        after = self._found.after
        self._made |= {key: after[key] for key in keys if key in after and key not in bad}

    def _note_made(self) -> None:
        made, self._made = self._made, {}
        if self._judge is not None and made:
            self._judge.note_made(made)
