"""What is said of the rows under way, without their sensitive values (`engine.sensitive`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from sync_pipelines.engine.disguise import disguised
from sync_pipelines.engine.model import KEY, BatchResult, Parent, Rejection
from sync_pipelines.engine.sensitive import Shape, mask_of, spellings, without

Mapper = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]

_BATCHES = 8
"""Batches whose rows are remembered: more than a target has taken and not yet answered."""


@dataclass
class Veil:
    """The sensitive values of the rows that are under way, so that nothing which is said of them quotes one.

    Nothing is computed before something is said; a table without sensitive columns costs nothing.
    """

    spec: Shape
    _rows: deque[pa.RecordBatch] = field(default_factory=lambda: deque(maxlen=_BATCHES), init=False)

    def cover(self, batch: pa.RecordBatch) -> None:
        """Remember a source's batch."""
        if self.spec.sensitive:
            self._rows.append(batch)

    def cover_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Remember these rows, however many, in the place of those before."""
        self._rows = deque(batches)

    def mapping(self, mapper: Mapper) -> Mapper:
        """A mapper whose refusals quote nothing; the batches that it is given are remembered."""

        def veiled(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
            self.cover(batch)
            mapped, rejected = mapper(batch)
            return mapped, self.rejections(rejected)

        return veiled

    def results(self, results: Iterable[BatchResult]) -> Generator[BatchResult]:
        """What a target answers, and its errors, without quoting."""
        with self.errors():
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
        hide = self.hide if rows is None else lambda text: self._hide_all(text, rows())
        try:
            yield
        except Exception as error:
            shown = disguised(error, hide) if self.spec.sensitive else error
            if shown is error:
                raise
            raise shown from (shown.__cause__ or shown.__context__)

    def _hide_all(self, text: str, rows: Iterable[pa.RecordBatch]) -> str:
        for batch in rows:
            self.cover_all([batch])
            text = self.hide(text)
        return text

    def _values(self, keys: set[str] | None) -> Iterator[tuple[str, list[str]]]:
        """The sensitive values of the rows with these keys (of all for None), by key."""
        for batch in list(self._rows):  # mapping goes on in another thread
            names = [name for name in self.spec.sensitive if name in batch.schema.names]
            columns = [batch.column(name) for name in names]
            for row, key in enumerate(batch.column(KEY).to_pylist()):
                if keys is None or key in keys:
                    own = [key] if mask_of(self.spec).hides_keys else []
                    yield key, own + [text for column in columns for text in spellings(column[row].as_py())]
