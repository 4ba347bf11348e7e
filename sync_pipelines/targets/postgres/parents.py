"""Whether rows that others wait for are there: one statement a foreign key, by the parent's index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sync_pipelines.engine.model import Parent
from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.targets.postgres.layout import Catalog, ForeignKey
from sync_pipelines.targets.postgres.staging import exact_type


def questions(catalog: Catalog, parents: Sequence[Parent]) -> Iterator[str | None]:
    """A query a foreign key, of one row: whether one of the parents is there; None where the foreign key is gone."""
    known = {key.name: key for key in catalog.foreign_keys}
    for name, chosen in groupby(sorted(parents, key=lambda parent: parent.constraint), lambda item: item.constraint):
        yield _question(catalog, known[name], list(chosen)) if name in known else None


def _question(catalog: Catalog, key: ForeignKey, parents: Sequence[Parent]) -> str:
    types = {column.name: exact_type(column) for column in catalog.info.columns}
    columns = ", ".join(_texts([parent.values[number] for parent in parents]) for number in range(len(key.columns)))
    names = ", ".join(f"v{number}" for number in range(len(key.columns)))
    same = " AND ".join(
        f"p.{identifier(there)} {operator} w.v{number}::{types[here]}"
        for number, (here, there, operator) in enumerate(
            zip(key.columns, key.parent_columns, key.operators, strict=True)
        )
    )
    return (
        f"SELECT EXISTS (SELECT FROM ROWS FROM ({columns}) AS w({names}) "
        f"WHERE EXISTS (SELECT FROM {key.parent} AS p WHERE {same})) AS there"
    )


def _texts(values: Sequence[str]) -> str:
    return f"pg_catalog.unnest(ARRAY[{', '.join(map(literal, values))}]::pg_catalog.text[])"
