"""What every kind of sync has in common: a document, its asset, and the binding of a run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from dagster._core.definitions.utils import is_valid_owner
from pydantic import ConfigDict, Field, field_validator, model_validator

from sync_pipelines.components.assets import build_asset
from sync_pipelines.components.blocks import (
    NAME,
    AlertsBlock,
    ChecksBlock,
    PartitionsBlock,
    PricesBlock,
    RunsBlock,
    SchedulesBlock,
    SensorBlock,
    SourceBlock,
)
from sync_pipelines.components.schema import Strict
from sync_pipelines.components.whole import Whole
from sync_pipelines.engine.cost import Prices, price
from sync_pipelines.engine.durations import seconds
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.run import Binding
from sync_pipelines.engine.settings import positive, resolve
from sync_pipelines.engine.spec import TableSpec

if TYPE_CHECKING:
    from datetime import datetime

    from sync_pipelines.check_results import Anew
    from sync_pipelines.engine.ledger.ledger import Ledger


def snake_case(name: str) -> str:
    """`KnowledgeReference` → `knowledge_reference`; whatever Dagster refuses in a name becomes `_`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    slug = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return slug if slug and slug[0].isalpha() else f"t_{slug}"


_PRICES = {
    f"price_{name}": (f"What a {name.replace('_', ' ')} costs.", price)
    for name in ("hour", "warehouse_hour", "million_tokens")
}


@dataclass(frozen=True, kw_only=True)
class Owned:
    """Tables that a sync owns: the connection of their database, the branch of migrations, and their schema."""

    connection: str
    branch: Any
    schema: str


class SyncComponent(Whole, Strict, dg.Component, dg.Model, dg.Resolvable):
    """A table of a sync. A kind adds its target's block and says how to bind a run to it."""

    model_config = ConfigDict(extra="forbid", ignored_types=(cached_property,))

    sync: str = Field(description="The sync's name: lower case, as in the asset key, the CLI and variables.")
    source: SourceBlock
    name: str | None = Field(default=None, description="The table's name in asset keys; from the table's if left out.")
    enabled: bool = True
    description: str | None = None
    owners: list[str] = Field(default=[], description="E-mail addresses, or team:name.")
    partitions: PartitionsBlock = PartitionsBlock()
    schedules: SchedulesBlock = SchedulesBlock()
    sensor: SensorBlock = SensorBlock()
    checks: ChecksBlock = ChecksBlock()
    alerts: AlertsBlock = AlertsBlock()
    runs: RunsBlock = RunsBlock()
    prices: PricesBlock = PricesBlock()
    sensitive: list[str] = Field(
        default=[],
        description="Columns whose values are masked in samples, quarantine, logs and alerts. Of a key column keys are "
        "shown as sha256:…, which commands take for the key.",
    )

    shapes: ClassVar[dict[str, Any]] = {name: {"pattern": NAME.pattern} for name in ("sync", "name")}

    far_system: ClassVar[str] = ""
    """The system beside PostgreSQL, as `health` names it."""
    writes_delta: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ()
    io_manager_key: ClassVar[str] = ""
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger"})
    default_batch_size: ClassVar[int] = 100
    captures_in_postgres: ClassVar[bool] = True
    """Whether changes are captured by triggers (or a cursor) in the source, a PostgreSQL database."""

    @field_validator("sync", "name")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and not NAME.match(value):
            raise ValueError(f"{value!r}: use up to 63 lower-case letters, digits and _, beginning with a letter")
        return value

    @field_validator("owners")
    @classmethod
    def _somebody(cls, value: list[str]) -> list[str]:
        for owner in value:
            if not is_valid_owner(owner):
                raise ValueError(f"{owner!r}: write an e-mail address, or team:name")
        return value

    @model_validator(mode="after")
    def _sensitive_columns_are_read(self) -> SyncComponent:
        changed_at = [self.source.changed_at] if self.source.changed_at else []
        if self.reads_every_column:
            return self
        known = [*self.source.key, *changed_at, *self.read_columns()] if self.sensitive else []
        if unknown := [name for name in self.sensitive if name not in known]:
            raise ValueError(f"sensitive: {', '.join(unknown)}: the document reads {', '.join(dict.fromkeys(known))}")
        return self

    @property
    def far_systems(self) -> tuple[str, ...]:
        """The systems beside PostgreSQL that `health` asks."""
        return (self.far_system,)

    # What a kind says of itself.

    def read_columns(self) -> tuple[str, ...]:
        """The columns that the target needs, key and change time aside."""
        raise NotImplementedError

    def owned(self, resources: Any) -> Owned | None:
        """The tables in the target that migrations of this package make; None where there are none."""
        return None

    @property
    def reads_every_column(self) -> bool:
        """Whether all columns of the table are read, those that are added later too."""
        return False

    def mapping_text(self) -> str:
        """A text that changes when the mapping to the target does."""
        raise NotImplementedError

    def target_name(self) -> str:
        """The target's own name of the table, for people."""
        raise NotImplementedError

    def target_identity(self) -> str:
        """What the table is written into, in words: two tables with the same would delete each other's records."""
        raise NotImplementedError

    def asset_metadata(self) -> dict[str, Any]:
        return {}

    def not_configured(self, resources: Any) -> str | None:
        """Why this sync is not in use here (it names the variable), or None."""
        raise NotImplementedError

    def not_ready(self, resources: Any) -> str | None:
        """Why a schedule has nothing to ask for here, or None; unlike `not_configured` it may ask systems."""
        return self.not_configured(resources)

    def not_watched(self, resources: Any) -> str | None:
        """Why no sensor asks for changes here, or None."""
        return None

    def target_parts(self, resources: Any) -> dict[str, Any]:
        """`target`, `mapper` and `lock_name` of a binding."""
        raise NotImplementedError

    def require_mode(self, mode: str) -> None:
        """Insist that this table can be synced so.

        Raises:
            ConfigurationError: it cannot.
        """
        if mode == "reparse" and self.source.capture != "fetch":
            raise ConfigurationError(
                "nothing is kept of what was read, so there is nothing to make rows of.",
                sync=self.sync,
                table=self.table_name,
                remedy=f"Run `sync-pipelines sync {self.path} --full`, which reads everything.",
            )

    def share(self, binding: Binding, resources: Any, *, run_id: str) -> None:
        """Let a check use what another one of its run was told; each asks for itself by default."""

    def more_checks(self) -> dict[str, Any]:
        """Further asset checks: name → description and work (`checks.Work`)."""
        return {}

    def known_settings(self) -> dict[str, tuple[str, Any]]:
        """What `sync_settings` may hold of this sync: name → meaning, and what reads its text (ValueError)."""
        return {"batch_size": ("Records a transaction.", positive), **_PRICES}

    def facts(self, resources: Any, binding: Binding) -> dict[str, Any]:
        """What `status` says of this table otherwise than of others: fields of `status.Facts`."""
        return {}

    def told_of_run(self, resources: Any, began: datetime) -> str | None:
        """What somebody who waited for a run that began then is told beside its numbers, as a clause."""
        return None

    def looked_anew(self, binding: Binding) -> Anew | None:
        """What a deep look shows beside the proof."""
        return None

    # What follows from it.

    @property
    def table_name(self) -> str:
        return self.name or snake_case(self.source.table)

    @property
    def path(self) -> str:
        """`sync/table`, as asset keys, the ledger and the CLI spell it."""
        return f"{self.sync}/{self.table_name}"

    @property
    def asset_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.sync, self.table_name])

    @property
    def op_name(self) -> str:
        """The name under which a run's config holds this table's."""
        return f"{self.sync}__{self.table_name}"

    @property
    def pool(self) -> str | None:
        """The Dagster pool of its runs, so that they queue instead of waiting for the target's lock."""
        return self.op_name

    @cached_property
    def spec(self) -> TableSpec:
        return self.spec_with()

    def spec_with(self, **more: Any) -> TableSpec:
        """The table as a source; `more` are the fields that a kind adds."""
        source = self.source
        return TableSpec(
            sync=self.sync,
            name=self.table_name,
            table=source.table,
            schema=source.schema_name,
            key=tuple(source.key),
            columns=self.read_columns(),
            changed_at=source.changed_at,
            capture=source.capture,
            lookback_seconds=seconds(source.lookback),
            mapping=self.mapping_text(),
            sensitive=tuple(self.sensitive),
            **more,
        )

    def guard(self) -> Guard:
        limits = self.checks.mass_delete
        return Guard(share=limits.share, records=limits.records)

    @property
    def auto_repair(self) -> bool:
        """Whether the scheduled check is followed by a repair: a cursor sees no deletes, so it depends on it."""
        wanted = self.checks.auto_repair
        return self.source.capture == "cursor" if wanted is None else wanted

    def build_source(self, resources: Any) -> Any:
        """The source, which connects when it is first asked."""
        from sync_pipelines.sources.postgres.source import PostgresSource

        return PostgresSource(
            resources.postgres.connection_url(self.source.connection),
            self.spec,
            sync_schema=resources.ledger.sync_schema(),
            pool_max=resources.postgres.pool_max(),
            spool=resources.postgres.spool_folder(),
        )

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        """This table with its systems; nothing connects yet.

        Raises:
            NotConfiguredError, ConfigurationError: a setting is missing or wrong.
        """
        parts = self.target_parts(resources)
        return Binding(
            spec=self.spec,
            source=self.build_source(resources),
            ledger=resources.ledger.ledger(),
            guard=self.guard(),
            lock_url=resources.ledger.database_url(),
            lock_timeout=seconds(self.runs.lock_timeout),
            batch_size=batch_size or self.runs.batch_size or self.default_batch_size,
            prices=self.prices_now,
            spool=resources.postgres.spool_folder(),
            **parts,
        )

    def batch_size_now(self, ledger: Ledger, *, run_config: int | None = None) -> int:
        """Records a batch of a run that begins now; `ledger` has the settings.

        Raises:
            ConfigurationError: a setting is no whole number above 0.
        """
        return resolve(
            "batch_size",
            sync=self.sync,
            parse=positive,
            default=self.default_batch_size,
            run_config=run_config,
            stored=ledger.setting(f"{self.sync}.batch_size"),
            environment=os.environ,
            yaml=self.runs.batch_size,
        )

    def run_settings(self, ledger: Ledger, *, batch_size: int | None = None) -> dict[str, Any]:
        """Fields of the binding of a run that begins now; `ledger` has the settings.

        Args:
            batch_size: of the run's config.

        Raises:
            ConfigurationError: a setting has not its form.
        """
        return {"batch_size": self.batch_size_now(ledger, run_config=batch_size)}

    def prices_now(self, ledger: Ledger) -> Prices:
        """The prices that hold for a run that begins now; `ledger` has the settings.

        Raises:
            ConfigurationError: one is no amount of money.
        """
        stored = ledger.settings(f"{self.sync}.price_")

        def found(name: str, yaml: Decimal | None) -> Decimal | None:
            key = f"price_{name}"
            return resolve(
                key,
                sync=self.sync,
                parse=price,
                default=None,
                stored=stored.get(f"{self.sync}.{key}"),
                environment=os.environ,
                yaml=yaml,
            )

        return Prices(**{name: found(name, value) for name, value in self.prices.amounts().items()})

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset and its checks; schedules, jobs and sensors are made for a whole sync in `automation`."""
        from sync_pipelines.checks import build_checks

        if not self.enabled:
            return dg.Definitions()
        return dg.Definitions(assets=[build_asset(self)], asset_checks=build_checks(self))
