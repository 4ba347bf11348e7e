"""The rows of a document that YAML describes by columns: one row, each value by its path into the payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync_pipelines.sources.rest.endpoint import at


@dataclass(frozen=True, kw_only=True)
class ColumnRows:
    """Payload and key → one row of `table`.

    Args:
        record: the columns of the key, in its order. paths: column → dotted path into the payload.
        required: columns whose value has to be there.
    """

    table: str
    record: tuple[str, ...]
    paths: Mapping[str, str]
    required: frozenset[str] = frozenset()

    def __call__(self, payload: Any, key: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
        """The row.

        Raises:
            ValueError: the payload is no object, or a required value is not there; the sentence names the path.
        """
        if not isinstance(payload, Mapping):
            raise ValueError(f"an object is expected, and this is a {type(payload).__name__}")
        found = {name: at(payload, path) for name, path in self.paths.items()}
        if lacking := [name for name in sorted(self.required) if found[name] is None]:
            raise ValueError(f"{self.paths[lacking[0]]}: it is not there")
        return {self.table: [{**dict(zip(self.record, key, strict=True)), **found}]}
