"""The kind `OutboxToNeo4j`: a PostgreSQL table becomes nodes or relationships of a graph (Neo4j, ArcadeDB)."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components.base import SyncComponent, snake_case
from sync_pipelines.components.blocks import Block, ReviewedConflictsBlock
from sync_pipelines.components.schema import field_errors
from sync_pipelines.engine.events import RETRY_MAX
from sync_pipelines.engine.locks import alive_consumer
from sync_pipelines.engine.settings import positive, resolve

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.spec import TableSpec
    from sync_pipelines.targets.neo4j.judgement import Rules
    from sync_pipelines.targets.neo4j.mapping import GraphMapper
    from sync_pipelines.targets.neo4j.target import GraphTarget

_LONGEST_TYPE = 256
"""Bytes of an entity_type that `sync.publish_event` takes."""


def _can_be(name: str) -> str:
    from sync_pipelines.targets.neo4j.names import wrong_label

    if (wrong := wrong_label(name)) is not None:
        raise ValueError(f"{name!r} {wrong}")
    return name


class EndBlock(Block):
    """One end of a relationship."""

    label: str = Field(description="The label of its node.")
    key: str | list[str] = Field(description="The column that holds the node's key; several for a key of several.")

    @field_validator("label")
    @classmethod
    def _is_a_label(cls, value: str) -> str:
        return _can_be(value)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @model_validator(mode="after")
    def _has_a_key(self) -> EndBlock:
        if not self.columns:
            raise ValueError("key names no column")
        return self


class GraphTargetBlock(Block):
    """A label of nodes, or a type of relationships, which the sync has for itself."""

    connection: str = "graph"
    label: str | None = Field(default=None, description="The label of the nodes.")
    relationship: str | None = Field(default=None, description="The type of the relationships, with `start` and `end`.")
    start: EndBlock | None = Field(default=None, description="Where a relationship begins.")
    end: EndBlock | None = Field(default=None, description="Where it leads.")

    @field_validator("label", "relationship")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        return value if value is None else _can_be(value)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> GraphTargetBlock:
        if (self.label is None) == (self.relationship is None):
            raise ValueError("name a label, or a relationship with its start and end")
        given = [name for name in ("start", "end") if getattr(self, name) is not None]
        if self.label is not None and given:
            raise ValueError(f"{given[0]} belongs to a relationship, not to a label")
        if self.relationship is not None and len(given) < 2:
            raise ValueError("a relationship needs start and end, each with a label and a key")
        if self.relationship in [end.label for end in (self.start, self.end) if end is not None]:
            raise ValueError(f"relationship: {self.relationship!r} is a label, too, which ArcadeDB does not allow")
        return self

    @property
    def name(self) -> str:
        """The label or type."""
        name = self.label or self.relationship
        assert name is not None
        return name


class OutboxToNeo4j(SyncComponent):
    """Keeps the nodes of a label, or the relationships of a type, equal to a PostgreSQL table.

    Each row is one node or relationship. A relationship whose node is not there yet waits for it.
    """

    target: GraphTargetBlock
    events: Literal["table", "outbox"] = Field(
        default="table",
        description="What says which rows changed. outbox: the events that the application publishes. table: triggers "
        "on the table itself.",
    )
    entity_type: str | None = Field(
        default=None, description="As its events name it; the label or type in lower case with _ if left out."
    )
    properties: list[str] | dict[str, str] | None = Field(
        default=None,
        description="The columns that become properties, or column → name; all of them, later ones too, if left out. "
        "A node has its key columns in any case; a relationship's columns of start and end are its nodes.",
    )
    conflicts: ReviewedConflictsBlock = ReviewedConflictsBlock()
    conflict_detection: bool = Field(
        default=True,
        description="Whether edits in the graph are looked for. false: nothing is kept of what was last synced, and "
        "the source's version is written over whatever stands there.",
    )

    default_batch_size: ClassVar[int] = 50
    far_system: ClassVar[str] = "neo4j"
    kinds: ClassVar[tuple[str, ...]] = ("postgres", "neo4j")
    io_manager_key: ClassVar[str] = "neo4j_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "neo4j"})

    @model_validator(mode="after")
    def _events_can_be(self) -> OutboxToNeo4j:
        if self.events == "table" and self.entity_type is not None:
            raise ValueError("entity_type belongs to events: outbox")
        if self.events == "outbox" and self.source.capture != "trigger":
            raise ValueError(f"source.capture: {self.source.capture} is for events: table")
        if self.entity_type == "":
            raise ValueError("entity_type is empty")
        if self.events == "outbox" and (size := len(self.events_of.encode(errors="surrogatepass"))) > _LONGEST_TYPE:
            raise ValueError(
                f"entity_type: {self.events_of[:40]!r}… has {size} bytes, and no event can be published of a type of "
                f"over {_LONGEST_TYPE}; give a shorter one"
            )
        return self

    @model_validator(mode="after")
    def _names_can_be(self) -> OutboxToNeo4j:
        with field_errors(without=f"{self.path}: "):
            self.mapper().named(self.properties or ())
        return self

    @model_validator(mode="after")
    def _conflicts_can_be_seen(self) -> OutboxToNeo4j:
        if not self.conflict_detection and "conflicts" in self.model_fields_set:
            raise ValueError("conflicts: conflict_detection is false, so none is seen; leave one of the two out")
        by = self.conflicts.by
        if by is not None and not self.reads_every_column and self.mapper().property_of(by) is None:
            raise ValueError(f"conflicts.by: {by!r} becomes no property")
        return self

    def rules(self) -> Rules | None:
        """Who wins where the graph was edited; None where nobody looks."""
        from sync_pipelines.engine.conflicts import Strategy
        from sync_pipelines.targets.neo4j.judgement import Rules
        from sync_pipelines.targets.neo4j.names import END_NAME, START_NAME

        if not self.conflict_detection:
            return None
        mapper = self.mapper()
        ends = {START_NAME, END_NAME} if set(self.sensitive) & set(self.end_columns) else set()
        hidden = {name for column in self.sensitive if (name := mapper.property_of(column)) is not None}
        # events have versions, and an edit by hand has none
        changed_at = self.source.changed_at if self.events == "table" else None
        by = mapper.property_of(self.conflicts.by or changed_at)
        return Rules(strategy=Strategy(self.conflicts.strategy), by=by, hidden=frozenset(hidden | ends))

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        binding = super().bind(resources, batch_size=batch_size)
        binding.target.keep_books(binding.ledger)  # ty: ignore[missing-attribute]
        return binding

    @property
    def _named(self) -> dict[str, str] | None:
        if self.properties is None or isinstance(self.properties, dict):
            return self.properties
        return {name: name for name in self.properties}

    @property
    def _ends(self) -> tuple[EndBlock, EndBlock] | None:
        start, end = self.target.start, self.target.end
        return (start, end) if start is not None and end is not None else None

    @property
    def end_columns(self) -> tuple[str, ...]:
        """The columns that hold the keys of a relationship's nodes."""
        return tuple(dict.fromkeys(name for end in self._ends or () for name in end.columns))

    def read_columns(self) -> tuple[str, ...]:
        return () if self._named is None else tuple(dict.fromkeys([*self._named, *self.end_columns]))

    @property
    def reads_every_column(self) -> bool:
        return self.properties is None

    @cached_property
    def spec(self) -> TableSpec:
        # of its own text a node's key is made: so its spelling is that of the node's table
        found = self.spec_with(every_column=self.reads_every_column, as_text=self.end_columns)
        if self.events == "table":
            return found
        ends = self._ends and (self._ends[0].columns, self._ends[1].columns)
        return replace(found, capture="outbox", entity_type=self.events_of, ends=ends)

    @property
    def events_of(self) -> str:
        """The entity type whose events tell of this table's rows."""
        return self.entity_type or snake_case(self.target.name)

    def mapping_text(self) -> str:
        return self.mapper().signature

    def mapper(self) -> GraphMapper:
        from sync_pipelines.targets.neo4j.mapping import End, Ends, GraphMapper

        found = [End(label=end.label, columns=end.columns) for end in self._ends or ()]
        ends = Ends(start=found[0], end=found[1]) if found else None
        return GraphMapper(properties=self._named, key=tuple(self.source.key), ends=ends, place=self.path)

    def target_name(self) -> str:
        return self.target.name

    def target_identity(self) -> str:
        # one graph serves all documents (NEO4J_URI), so its connection's name tells nothing apart
        return f"graph {'label' if self.target.label else 'relationship'} {self.target.name!r}"

    @property
    def pool(self) -> str:
        return f"graph_{self.target.connection}" if self.target.connection != "graph" else "graph"

    def asset_metadata(self) -> dict[str, Any]:
        kind = "label" if self.target.label else "relationship"
        changed_at = self.mapper().property_of(self.source.changed_at)
        return {
            f"neo4j/{kind}": self.target.name,
            "dagster/storage_kind": "neo4j",
            "dagster/table_name": self.target.name,
            **({"neo4j/changed_at": changed_at} if changed_at else {}),
        }

    def not_configured(self, resources: Any) -> str | None:
        from sync_pipelines.resources.neo4j import NOT_SET

        return None if resources.neo4j.configured() else f"not configured: {NOT_SET}"

    def build_target(self, resources: Any) -> GraphTarget:
        from sync_pipelines.targets.neo4j.target import GraphTarget, RelationshipTarget

        mapper = self.mapper()
        kind = GraphTarget if mapper.ends is None else RelationshipTarget
        return kind(
            settings=resources.neo4j.settings(),
            name=self.target.name,
            shape=lambda: self._shape(resources),
            sync=self.sync,
            table=self.table_name,
            quiet=bool(self.sensitive),
            ends=mapper.ends,
            rules=self.rules(),
        )

    def _shape(self, resources: Any) -> pa.Schema:
        """The properties that the columns in the catalog become now."""
        columns, _ = self.build_source(resources).described()
        return self.mapper().schema(columns)

    def run_settings(self, ledger: Ledger, *, batch_size: int | None = None) -> dict[str, Any]:
        tries = resolve(
            "retry_max",
            sync=self.sync,
            parse=positive,
            default=RETRY_MAX,
            stored=ledger.setting(f"{self.sync}.retry_max"),
            environment=os.environ,
        )
        return {**super().run_settings(ledger, batch_size=batch_size), "retry_max": tries}

    def not_watched(self, resources: Any) -> str | None:
        found = alive_consumer(resources.ledger.database_url(), self.sync, self.path)
        what = "the events" if self.events == "outbox" else "what changes"
        return found and f"a consumer brings {what} (`sync-pipelines consume {found}`)"

    def target_parts(self, resources: Any) -> dict[str, Any]:
        return {
            "target": self.build_target(resources),
            "mapper": self.mapper().map,
            "lock_name": resources.neo4j.settings().lock_name,
        }
