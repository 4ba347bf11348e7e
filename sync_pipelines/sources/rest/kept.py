"""What a REST source has kept, as a stream; and a sample of it, fetched anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from sync_pipelines.sources.rest.asked import pages
from sync_pipelines.targets.rowsets.batch import Document, print_of, schema_of

if TYPE_CHECKING:
    from sync_pipelines.engine.model import Scope
    from sync_pipelines.sources.rest.source import RestSource


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Records that were fetched anew: how many, those that have changed since they were kept, and how many gave no
    answer."""

    asked: int = 0
    changed: tuple[str, ...] = ()
    unanswered: int = 0


def sample_anew(source: RestSource) -> Sample:
    """Fetch some records anew and compare them with what is kept; those that have changed are due at once.

    Raises:
        SyncError: the API is down, or refuses the key.
    """
    settings, tables = source.settings(), source.store.layout.rows
    with source.store.cursor() as cursor:
        keys = source.checks.some(cursor, settings.sample) if source.asked is not None else []
    if not keys:
        return Sample()
    kept = {item.key: print_of(item, tables) for item in source.documents(keys)}
    stream = source.stream = source.fetching([keys], settings)
    now = {item.key: item for item in stream.documents()}
    source.count_sent()
    stream.ended()
    answered = [key for key in keys if key in now and now[key].status != "failed"]
    changed = [key for key in answered if print_of(now[key], tables) != kept.get(key)]
    if changed:
        with source.store.writing() as cursor:
            source.checks.make_due(cursor, changed)
    return Sample(asked=len(keys), changed=tuple(changed), unanswered=len(keys) - len(answered))


class Kept:
    """A `RecordStream` of what is kept, of the scope's keys or of all; then those that no run has heard of yet come,
    too, as what was never fetched.

    Args:
        due: of a run that is planned, the keys that it would ask for: of others it writes those alone that wait.
    """

    def __init__(
        self, source: RestSource, scope: Scope, *, due: Callable[[], Iterable[Sequence[str]]] | None = None
    ) -> None:
        self._source, self._scope, self._due = source, scope, due

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self._source.store.layout.rows)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for page in self._pages():
            yield from self._source.values(page)
        if self._scope.keys is None:
            yield from self._source.never_fetched()

    def _pages(self) -> Iterable[Sequence[str]]:
        if self._scope.keys is not None:
            return pages(self._scope.keys)
        return self._source.known_pages() if self._due is None else self._expected(self._due())

    def _expected(self, due: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
        also = frozenset(self._scope.also)
        yield from pages(self._scope.also)
        yield from ([key for key in page if key not in also] for page in due)


class Again:
    """Documents that can be made again."""

    def __init__(self, make: Callable[[], Iterator[Document]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Document]:
        return self._make()
