"""The kind `KeepToNotion`: the notes of Google Keep, kept equal in a Notion database of each user."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components import keep_parts as parts
from sync_pipelines.components.blocks import Block, ChecksBlock, SchedulesBlock
from sync_pipelines.components.functions import named_function
from sync_pipelines.components.per_user import PerUser
from sync_pipelines.components.schema import DURATION, field_errors
from sync_pipelines.engine.durations import seconds
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.settings import above_zero

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.spec import TableSpec


class KeepSourceBlock(Block):
    """Where notes come from; which export or account it is, each user says (`sync-pipelines users add`)."""

    interval: str = Field(
        default="1h", description="An account is asked again after so long; exports when they change."
    )
    deadline: str = Field(
        default="5m", description="So long may Keep put off one look at an account: it can ask for a pause for ever."
    )

    shapes: ClassVar[dict[str, Any]] = {key: {"pattern": DURATION} for key in ("interval", "deadline")}

    @field_validator("interval", "deadline")
    @classmethod
    def _duration(cls, value: str) -> str:
        if not seconds(value):
            raise ValueError(f"{value!r}: expected a duration above 0, such as 1h or 5m")
        return value

    # What other kinds' sources have, and what one of notes always is

    @property
    def connection(self) -> str:
        """Who reads."""
        return "keep"

    @property
    def table(self) -> str:
        return "notes"

    @property
    def key(self) -> list[str]:
        return ["id"]

    @property
    def schema_name(self) -> None:
        """Notes stand in no schema."""

    @property
    def changed_at(self) -> None:
        """When a note was edited says nothing of labels and colours, which change without an edit."""

    @property
    def capture(self) -> Literal["listing"]:
        return "listing"

    @property
    def lookback(self) -> str:
        return "0s"


class NotionTargetBlock(Block):
    """A database in Notion for each user: one that the sync makes, or one that the user has named."""

    connection: str = "notion"
    title: str = Field(default="Google Keep", min_length=1, description="The name of a database that the sync makes.")
    properties: dict[str, str] = Field(
        default={}, description="How the properties of an existing database are called: labels: Tags, …"
    )
    on_delete: Literal["mark", "trash"] = Field(
        default="mark",
        description="Of a note that Keep has no more. mark: `Deleted in Keep` is set, and the page stays. trash: a "
        "page that holds nothing of people goes into Notion's trash.",
    )
    max_blocks: int | None = Field(
        default=None, ge=0, description="Blocks that the sync may make for a user in all: free workspaces hold 1,000."
    )
    max_file: int = Field(
        default=20 * 1024 * 1024,
        ge=0,
        description="Bytes of the largest file that is uploaded; 5 MiB where it is free.",
    )
    rate_limit: float = Field(default=3.0, gt=0, description="Requests a second, over all who use a connection.")
    timeout: str = Field(default="60s", description="So long may one answer take.")

    shapes: ClassVar[dict[str, Any]] = {"timeout": {"pattern": DURATION}}

    @model_validator(mode="after")
    def _properties_are_notes(self) -> NotionTargetBlock:
        from sync_pipelines.targets.notion.properties import Columns

        with field_errors():
            Columns(self.properties)
        return self


class EditsBlock(Block):
    """Who wins where somebody edited in Notion what the sync had made, and the note has changed in Keep."""

    strategy: Literal["manual_review", "source_wins", "target_wins", "last_write_wins", "merge"] = Field(
        default="manual_review",
        description="manual_review: people's edits stay until one decides. source_wins: Keep's note. target_wins: the "
        "page. last_write_wins: the later edit. merge: block by block and property by property.",
    )


class KeepToNotion(PerUser):
    """Keeps the notes of Google Keep as pages of Notion, a database for each user.

    A page's blocks are edited one by one, and what people write beside them stays.
    """

    source: KeepSourceBlock = KeepSourceBlock()  # ty: ignore[incompatible-attribute-override]
    name: str | None = Field(default="pages", description="The table's name in asset keys.")
    target: NotionTargetBlock = NotionTargetBlock()
    page: str = Field(
        default="sync_pipelines.defs.notes.page:page_of", description="package.module:function, a note → its page."
    )
    conflicts: EditsBlock = EditsBlock()
    schedules: SchedulesBlock = SchedulesBlock(incremental="0 * * * *")
    checks: ChecksBlock = ChecksBlock(deep="weekly")

    far_system: ClassVar[str] = "notion"
    kinds: ClassVar[tuple[str, ...]] = ("notion",)
    io_manager_key: ClassVar[str] = "notion_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "notes"})
    captures_in_postgres: ClassVar[bool] = False

    @model_validator(mode="after")
    def _is_complete(self) -> KeepToNotion:
        named_function("page", self.page)
        if self.name is None:
            raise ValueError("name: the table has no other one")
        if self.sensitive:
            raise ValueError("sensitive: notes have no columns; their keys are times, and their texts are never shown")
        return self

    # What a kind says of itself

    def read_columns(self) -> tuple[str, ...]:
        return ("note",)

    @cached_property
    def spec(self) -> TableSpec:
        return self.spec_with()

    def mapping_text(self) -> str:
        return f"page:{self.page};file:{self.target.max_file}"

    def target_name(self) -> str:
        return self.target.title

    def target_identity(self) -> str:
        return f"the Notion databases of the users of {self.sync}"

    def asset_metadata(self) -> dict[str, Any]:
        return {"dagster/storage_kind": "notion", "dagster/table_name": self.target.title}

    def require_mode(self, mode: str) -> None:
        if mode in ("incremental", "full"):
            return
        raise ConfigurationError(
            f"mode {mode} is none of notes: pages are edited block by block, and never made anew.",
            sync=self.sync,
            table=self.table_name,
            remedy=f"Run `sync-pipelines sync {self.path} --full`, which reads everything.",
        )

    def share(self, binding: Binding, resources: Any, *, run_id: str) -> None:
        """One listing serves count, content and duplicates: of 8,000 pages each takes half a minute."""
        found = resources.notes.listings(run_id, resources.postgres.spool_folder())
        binding.target.shared = found.of(self.path)  # ty: ignore[missing-attribute]

    def more_checks(self) -> dict[str, Any]:
        from sync_pipelines.note_checks import note_checks

        return note_checks()

    def facts(self, resources: Any, binding: Binding) -> dict[str, Any]:
        """Files that are not on their pages; and the error of a database that is away, which no run without changes
        meets."""
        binding.target.require_there()  # ty: ignore[missing-attribute]
        return {"warnings": tuple(binding.target.warnings())}  # ty: ignore[missing-attribute]

    def known_settings(self) -> dict[str, tuple[str, Any]]:
        return {**super().known_settings(), "rate_limit": ("Requests a second to Notion.", above_zero)}

    @property
    def far_systems(self) -> tuple[str, ...]:
        return ("keep", "notion")

    # Its systems

    def build_source(self, resources: Any) -> Any:
        return (resources if isinstance(resources, parts.Given) else parts.Given(self, resources)).source

    def target_parts(self, resources: Any) -> dict[str, Any]:
        return parts.target_parts(self, resources)

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        if self.user is None:
            return super().bind(resources, batch_size=batch_size)
        return super().bind(parts.Given(self, resources), batch_size=batch_size)
