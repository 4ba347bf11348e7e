"""The kind `PostgresToChroma`: a PostgreSQL table becomes a Chroma collection for semantic search."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.blocks import Block, ChunkingBlock, EmbeddingBlock
from sync_pipelines.components.schema import field_errors
from sync_pipelines.resources.chroma import ChromaResource
from sync_pipelines.targets.chroma.names import check_collection_name

if TYPE_CHECKING:
    from sync_pipelines.targets.chroma.target import ChromaTarget
    from sync_pipelines.targets.documents import DocumentMapper


class ChromaTargetBlock(Block):
    """The collection: 3 to 503 characters of a-z, A-Z, 0-9, `.`, `_` and `-`; a rebuild needs the rest of 512."""

    connection: str = "chroma"
    collection: str

    @field_validator("collection")
    @classmethod
    def _chroma_takes_it(cls, value: str) -> str:
        with field_errors(without="target.collection: "):
            check_collection_name(value)
        return value


class PostgresToChroma(SyncComponent):
    """Keeps a Chroma collection equal to a PostgreSQL table.

    Each row is one record: its text is embedded (in chunks where it is long), its metadata can be filtered
    by. An unchanged text is never embedded again.
    """

    target: ChromaTargetBlock
    text: list[str] | str = Field(
        description="The columns whose text is searched, or package.module:function, row → str or Document."
    )
    metadata: list[str] = Field(default=[], description="The columns that a search can filter by.")
    languages: list[str] = Field(
        default=[], description="Localized JSON columns whose languages become the metadata field `languages`."
    )
    columns: list[str] = Field(default=[], description="Further columns that are read, where `text` is a function.")
    embedding: EmbeddingBlock = EmbeddingBlock()
    chunking: ChunkingBlock = ChunkingBlock()

    # 500 items a request take Chroma a fifth less work than five times 100; texts go to the model in its own size
    default_batch_size: ClassVar[int] = 500
    far_system: ClassVar[str] = "chroma"
    kinds: ClassVar[tuple[str, ...]] = ("postgres", "chroma")
    io_manager_key: ClassVar[str] = "chroma_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "chroma"})

    @model_validator(mode="after")
    def _embedding_is_there(self) -> PostgresToChroma:
        from sync_pipelines.targets.embedding import known_names, unknown_name

        if self.embedding.name not in known_names() and isinstance(self.text, str):
            # a function of the project's own may be registered there
            with suppress(ImportError):
                import_module(self.text.partition(":")[0])
        if self.embedding.name not in known_names():
            raise ValueError(str(unknown_name(self.embedding.name)).rstrip("."))
        return self

    @model_validator(mode="after")
    def _mapping_is_there(self) -> PostgresToChroma:
        # by loading, so that no command and no run begins with a function or a name that cannot be
        with field_errors(without=f"{self.path}: "):
            self.mapper().check()
        return self

    def read_columns(self) -> tuple[str, ...]:
        text = [] if isinstance(self.text, str) else self.text
        return tuple(dict.fromkeys([*text, *self.metadata, *self.languages, *self.columns]))

    def mapping_text(self) -> str:
        return self.mapper().signature

    def target_name(self) -> str:
        return self.target.collection

    def target_identity(self) -> str:
        # one Chroma serves all documents (CHROMA_URL or CHROMA_PATH), so its connection's name tells nothing apart
        return f"Chroma collection {self.target.collection!r}"

    def asset_metadata(self) -> dict[str, Any]:
        return {
            "chroma/collection": self.target.collection,
            "chroma/embedding": self.embedding.name,
            "dagster/storage_kind": "chroma",
            "dagster/table_name": self.target.collection,
        }

    def not_configured(self, resources: Any) -> str | None:
        if resources.chroma.configured():
            return None
        return "not configured: CHROMA_URL and CHROMA_PATH are not set"

    def mapper(self) -> DocumentMapper:
        from sync_pipelines.targets.documents import DocumentMapper

        return DocumentMapper(
            text=self.text, metadata=tuple(self.metadata), languages=tuple(self.languages), place=self.path
        )

    def build_target(self, chroma: ChromaResource) -> ChromaTarget:
        from sync_pipelines.targets.chroma.target import ChromaTarget

        return ChromaTarget(
            settings=chroma.settings(),
            collection=self.target.collection,
            embedding=self.embedding.spec(),
            chunking=self.chunking.spec(),
            mapping=self.spec.mapping_hash,
            sync=self.sync,
            table=self.table_name,
        )

    def target_parts(self, resources: Any) -> dict[str, Any]:
        from sync_pipelines.targets.chroma.locking import lock_name

        return {
            "target": self.build_target(resources.chroma),
            "mapper": self.mapper().map,
            "lock_name": lock_name(resources.chroma.settings(), self.target.collection),
        }
