"""What is said of the rows under way, without their sensitive values (`engine.sensitive`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache

import pyarrow as pa

from sync_pipelines.engine.disguise import disguised
from sync_pipelines.engine.model import KEY, BatchResult, Parent, Rejection
from sync_pipelines.engine.sensitive import Shape, mask_of, spellings, without

Mapper = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]

_BATCHES, _ROWS, _BYTES = 8, 20_000, 32 * 1024 * 1024
"""What is remembered: so many batches, and while they are small, more, up to so many rows or bytes. That is more than a
target has taken and not yet said which of them it refuses; one that refuses none takes as many as it likes (`results`).
"""


@dataclass
class Veil:
    """The sensitive values of the rows that are under way, so that nothing which is said of them quotes one.

    Nothing is computed before something is said; a table without sensitive columns costs nothing.
    """

    spec: Shape
    _rows: deque[pa.RecordBatch] = field(default_factory=deque, init=False)
    _count: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def cover(self, batch: pa.RecordBatch) -> None:
        """Remember a source's batch."""
        if not self.spec.sensitive:
            return
        self._remember(batch)
        while len(self._rows) > _BATCHES and self._is_enough_without(self._rows[0]):
            self._count -= self._rows[0].num_rows
            self._bytes -= self._rows[0].nbytes
            self._rows.popleft()

    def _is_enough_without(self, batch: pa.RecordBatch) -> bool:
        return self._count - batch.num_rows >= _ROWS or self._bytes - batch.nbytes >= _BYTES

    def cover_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Remember these rows, however many, in the place of those before."""
        self._rows, self._count, self._bytes = deque(), 0, 0
        for batch in batches:
            self._remember(batch)

    def _remember(self, batch: pa.RecordBatch) -> None:
        self._rows.append(batch)
        self._count += batch.num_rows
        self._bytes += batch.nbytes

    def mapping(self, mapper: Mapper) -> Mapper:
        """A mapper whose refusals quote nothing; the batches that it is given are remembered."""

        def veiled(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
            self.cover(batch)
            mapped, rejected = mapper(batch)
            return mapped, self.rejections(rejected)

        return veiled

    def results(
        self, results: Iterable[BatchResult], *, rows: Callable[[], Iterable[pa.RecordBatch]]
    ) -> Generator[BatchResult]:
        """What a target answers, and its errors, without quoting.

        Args:
            rows: gives all that it is given: some answer after 100,000 rows, and fail for the first of them.
        """
        with self.errors(rows):
            for result in results:
                yield replace(result, rejected=self.rejections(result.rejected)) if result.rejected else result

    def rejections(self, rejected: Sequence[Rejection]) -> list[Rejection]:
        """Records that were refused, with reasons that quote no sensitive value of theirs."""
        if not self.spec.sensitive:
            return list(rejected)
        values = dict(self._values({item.key for item in rejected}))
        return [
            replace(item, reason=without(item.reason, values.get(item.key, ())), parent=self._parent(item))
            for item in rejected
        ]

    def _parent(self, item: Rejection) -> Parent | None:
        """What a record waits for is written down but for sensitive columns; then a scheduled run tries it."""
        hidden = item.parent is not None and set(item.parent.columns) & set(self.spec.sensitive)
        return None if hidden else item.parent

    def hide(self, text: str) -> str:
        """A text that may speak of any of the rows."""
        return without(text, (value for _, values in self._values(None) for value in values))

    @contextmanager
    def errors(self, rows: Callable[[], Iterable[pa.RecordBatch]] | None = None) -> Generator[None]:
        """No error leaves the block with a sensitive value in its words: providers quote the text they refuse.

        Args:
            rows: gives the rows that an error may speak of, where they are more than are remembered; asked when there
                is one, and held a batch at a time.
        """
        hide = self.hide if rows is None else cache(lambda text: self._hide_all(text, rows))
        try:
            yield
        except Exception as error:
            shown = disguised(error, hide) if self.spec.sensitive else error
            if shown is error:
                raise
            raise shown from (shown.__cause__ or shown.__context__)

    def _hide_all(self, text: str, rows: Callable[[], Iterable[pa.RecordBatch]]) -> str:
        text = self.hide(text)
        with suppress(Exception):  # the first error counts; rows that cannot be read again were refused by nobody
            for batch in rows():
                text = without(text, (value for _, values in self._values_of(batch, None) for value in values))
        return text

    def _values(self, keys: set[str] | None) -> Iterator[tuple[str, list[str]]]:
        """The sensitive values of the remembered rows with these keys (of all for None), by key."""
        for batch in list(self._rows):  # mapping goes on in another thread
            yield from self._values_of(batch, keys)

    def _values_of(self, batch: pa.RecordBatch, keys: set[str] | None) -> Iterator[tuple[str, list[str]]]:
        names = [name for name in self.spec.sensitive if name in batch.schema.names]
        columns = [batch.column(name) for name in names]
        hides_keys = mask_of(self.spec).hides_keys
        for row, key in enumerate(batch.column(KEY).to_pylist()):
            if keys is None or key in keys:
                own = [key] if hides_keys else []
                yield key, own + [text for column in columns for text in spellings(column[row].as_py())]
