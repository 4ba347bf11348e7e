"""What a table's YAML document says of its source, without Dagster."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import SYSTEM_FIELDS

Capture = Literal["trigger", "cursor", "auto", "version", "outbox", "fetch", "listing"]

FINGERPRINT_VERSION = 1
"""Stands in front of each fingerprint; raised when the algorithm changes, so that old ones differ."""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One table as a source.

    Args:
        sync: the sync's name (`knowledge`).
        name: the record kind's name in asset keys, the ledger and the CLI (`knowledge_reference`).
        table: the table's name in PostgreSQL, unquoted, as it is spelled there (`KnowledgeReference`).
        schema: its schema, or None for the connection's default schema.
        key: the columns that identify a record; together unique and not null.
        columns: the columns that the sync reads, in order; the fingerprint is taken over just these
            (key and `changed_at` are always among them). Others may change without causing a write.
        every_column: all columns of the table are read, those that are added later too; `columns` is empty then.
        as_text: columns that are carried as PostgreSQL's own text, whatever their type.
        carry: how arrays are carried: "document" as JSON at any depth, "lake" as JSON but for those of JSON or of
            composite types, which are PostgreSQL's own text.
        changed_at: a column that says when a row changed, or None.
        capture: how changes are read (DESIGN.md §4).
        lookback_seconds: overlap of `cursor` capture.
        entity_type: whose events `outbox` reads.
        ends: of a relationship, the columns that hold the keys of its start and of its end.
        mapping: a text that changes when the mapping to the target does (text fields, functions, chunking);
            it is part of every fingerprint, so that a changed mapping makes every record differ.
        sensitive: the columns whose values nobody is shown (`engine.sensitive`).
    """

    sync: str
    name: str
    table: str
    key: tuple[str, ...]
    schema: str | None = None
    columns: tuple[str, ...] = ()
    every_column: bool = False
    as_text: tuple[str, ...] = ()
    carry: Literal["document", "lake"] = "document"
    changed_at: str | None = None
    capture: Capture = "trigger"
    lookback_seconds: float = 300.0
    entity_type: str = ""
    ends: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    mapping: str = ""
    sensitive: tuple[str, ...] = ()
    _projection: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.key:
            raise ConfigurationError("source.key names no column.", sync=self.sync, table=self.name)
        if len(set(self.key)) != len(self.key):
            raise ConfigurationError("source.key names a column twice.", sync=self.sync, table=self.name)
        if self.capture == "cursor" and not self.changed_at:
            raise ConfigurationError(
                "capture: cursor needs source.changed_at.",
                sync=self.sync,
                table=self.name,
                remedy="Name the column that says when a row changed, or use capture: trigger.",
            )
        wanted = (*self.key, *((self.changed_at,) if self.changed_at else ()), *self.columns)
        object.__setattr__(self, "_projection", tuple(dict.fromkeys(wanted)))
        for field_ in SYSTEM_FIELDS:
            if field_.name in self._projection:
                raise ConfigurationError(
                    f"the column {field_.name!r} has a name that the sync itself needs.",
                    sync=self.sync,
                    table=self.name,
                    remedy="Rename the column, or leave it out of the document.",
                )

    @property
    def projection(self) -> tuple[str, ...]:
        """Every column that is read and fingerprinted: key, `changed_at`, then `columns`, each once.

        With `every_column` those that the document names; the catalog has the others.
        """
        return self._projection

    @property
    def path(self) -> str:
        """`sync/name`, as asset keys, the ledger and the CLI spell it."""
        return f"{self.sync}/{self.name}"

    @property
    def mapping_hash(self) -> str:
        """Twelve hex digits that change with the projection, the key or the mapping."""
        shape = json.dumps([FINGERPRINT_VERSION, self.key, self.projection, self.mapping], ensure_ascii=True)
        return hashlib.md5(shape.encode(), usedforsecurity=False).hexdigest()[:12]
