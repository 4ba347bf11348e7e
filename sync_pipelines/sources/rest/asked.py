"""Which records are asked for: keys from a table, a file or the document, times the values of further columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.keys import as_postgres
from sync_pipelines.engine.overwriting import key_set
from sync_pipelines.engine.sql import identifier, literal, qualified
from sync_pipelines.engine.urls import NormalisedUrl
from sync_pipelines.sources.postgres.connection import small_transaction
from sync_pipelines.sources.postgres.errors import reading

_PAGE = 1000


class Ids(Protocol):
    """The ids that somebody has named, each a text."""

    def ids(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class NamedIds:
    """Ids that stand in the document, each given once."""

    values: tuple[str, ...]

    def ids(self) -> Iterator[str]:
        yield from dict.fromkeys(self.values)


@dataclass(frozen=True)
class FileIds:
    """Ids in a text file, one a line, each given once; blank lines and what follows a `#` are left out."""

    path: Path
    sync: str
    table: str

    def ids(self) -> Iterator[str]:
        """The ids.

        Raises:
            RunError: the file cannot be read.
        """
        yield from _once(self._lines())

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8-sig") as file:  # some editors begin a file with a mark
                for line in file:
                    if text := line.partition("#")[0].strip():
                        yield text
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"the file of ids {self.path.name!r} cannot be read: {getattr(error, 'strerror', None) or error}.",
                sync=self.sync,
                table=self.table,
                remedy="Correct source.ids.file, or put the file there.",
            ) from error


@dataclass(frozen=True, kw_only=True)
class TableIds:
    """Ids in a column of a table, each given once, without blanks around them; NULL and a blank text are none."""

    url: NormalisedUrl
    table: str
    column: str
    schema: str
    pool_max: int
    place: Mapping[str, str]

    def ids(self) -> Iterator[str]:
        """The ids."""
        yield from _once(filter(None, map(str.strip, self._texts())))

    def _texts(self) -> Iterator[str]:
        """What stands there, in pages of a transaction each, so that none is held open while an API answers."""
        column, table = identifier(self.column), qualified(self.schema, self.table)
        last = ""
        while True:
            after = f"AND {column} > {literal(last)}" if last else ""
            query = (
                f"SELECT DISTINCT {column} AS sorted, {column}::text AS id FROM {table} "
                f"WHERE {column} IS NOT NULL {after} ORDER BY 1 LIMIT {_PAGE}"
            )
            with reading(self.url, **self.place), small_transaction(self.url, pool_max=self.pool_max) as session:
                found = [row["id"] for row in session.all(query)]
            yield from found
            if len(found) < _PAGE:
                return
            last = found[-1]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The keys of a document kind.

    Args:
        ids: of the first key column. each: gives the values of the other key columns, by their names: each id is
            asked for with each of them.
    """

    ids: Ids
    each: Callable[[], Mapping[str, Sequence[str]]] = dict

    def keys(self) -> Iterator[str]:
        """The keys as the ledger has them, each once where the ids are."""
        others = list(itertools.product(*self.each().values()))  # one, empty, where there are no others
        for found in self.ids.ids():
            for rest in others:
                yield as_postgres([found, *rest]) if rest else found


def _once(ids: Iterable[str]) -> Iterator[str]:
    with key_set() as seen:
        for page in pages(ids):
            before = seen.among(page)
            seen.add(page)
            yield from (found for found in dict.fromkeys(page) if found not in before)


def pages(keys: Iterable[str], size: int = _PAGE) -> Iterator[list[str]]:
    """Keys in lists of so many."""
    iterator = iter(keys)
    while page := list(itertools.islice(iterator, size)):
        yield page
