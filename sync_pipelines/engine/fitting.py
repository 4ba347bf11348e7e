"""Whether a record that a person has put together could be the source's: by its key, and its columns' types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.merging import same

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.deciding import Sides, State

_COLUMNS = b"columns"


@runtime_checkable
class Declared(Protocol):
    """A source whose columns have declared types."""

    def refused(self, values: Mapping[str, Any]) -> Sequence[str]:
        """Those of these columns that cannot hold the value given for them, of JSON; of None that is NULL."""
        ...


def from_columns(field: pa.Field, *columns: str) -> pa.Field:
    """A field of mapped batches that says which of the source's columns it is made of."""
    return field.with_metadata({**(field.metadata or {}), _COLUMNS: json.dumps(columns).encode()})


def require_fit(binding: Binding, row: pa.RecordBatch, sides: Sides, merged: State) -> None:
    """Refuse values that no row of the source with this key could have.

    Args:
        row: the source's, mapped. sides: both states. merged: what is to be written; of it a value that is one side's
            is not asked about, for the graph's people may hold what the source cannot.

    Raises:
        ConfigurationError: a property of the key is another one than the key's, or a column cannot hold its value.
    """
    made_of = {field.name: _columns(field) for field in row.schema}
    source, target = sides.source or {}, sides.target or {}
    for name in (name for name, columns in made_of.items() if set(columns) & set(binding.spec.key)):
        if not same(merged.get(name), source.get(name)):
            raise ConfigurationError(
                f"the property {name!r} is part of the record's key, and cannot be another one.",
                remedy=f"Leave it out, or take the source's ({name}=source); another key is another record.",
            )
    new = {
        columns[0]: merged.get(name)
        for name, columns in made_of.items()
        if len(columns) == 1 and not any(same(merged.get(name), side.get(name)) for side in (source, target))
    }
    _require_types(binding, made_of, new)


def _require_types(binding: Binding, made_of: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> None:
    source = binding.source
    if not isinstance(source, Declared) or not (refused := source.refused(values)):
        return
    name = next(name for name, columns in made_of.items() if list(columns) == [refused[0]])
    kind = next(column.pg_type for column in source.inspect().columns if column.name == refused[0])
    why = "must not be empty" if values[refused[0]] is None else "cannot hold this value"
    raise ConfigurationError(
        f"the property {name!r} is the source's column {refused[0]!r} of type {kind}, which {why}.",
        remedy="Give one that the column could hold, or one side's.",
    )


def _columns(field: pa.Field) -> Sequence[str]:
    found = (field.metadata or {}).get(_COLUMNS)
    return () if found is None else json.loads(found)
