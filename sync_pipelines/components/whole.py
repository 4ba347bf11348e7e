"""What a table is to Dagster that is synced as a whole, its partitions windows of time; `per_user` says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import dagster as dg

from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipelines.components.blocks import PartitionsBlock

_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class Whole:
    """A table that is one: its only part is itself."""

    by_user: ClassVar[bool] = False
    """Whether every user has a part of the table for themselves (`components.per_user`)."""

    if TYPE_CHECKING:
        sync: str
        partitions: PartitionsBlock

        @property
        def path(self) -> str: ...
        @property
        def table_name(self) -> str: ...

    @property
    def user(self) -> str | None:
        """Whose part of the table this is; None for all of it."""
        return None

    def parts(self, resources: Any, *, patient: bool | None = None) -> Sequence[Self]:
        """What is synced, locked and proven by itself: the table; of a kind with users a part for each of them.

        Args:
            patient: see `LedgerResource.ledger`, which knows the users.
        """
        return [self]

    def for_user(self, name: str) -> Self:
        """This table as it is for one user.

        Raises:
            ConfigurationError: nobody can be called so, or the table has no users.
        """
        raise ConfigurationError("it has no users.", sync=self.sync, table=self.table_name)

    def part(self, name: str) -> Self:
        """The part that this name of the table means, as a command or a run's config spells it."""
        return self

    def whole(self) -> Self:
        """All of the table, whosever part of it this is."""
        return self

    @property
    def document_name(self) -> str:
        """The table's name as its document has it, whosever part of it this is."""
        return self.table_name

    @property
    def whole_path(self) -> str:
        """`sync/table` of the asset, whosever part of it this is."""
        return self.path

    # Its partitions, and the runs over them

    def partitions_definition(self) -> dg.PartitionsDefinition:
        """Windows of change time; of a kind with users, the users."""
        return self.partitions.definition()

    def backfill_policy(self) -> dg.BackfillPolicy:
        """How many partitions one run may have."""
        return dg.BackfillPolicy.single_run()

    def newest_partition(self) -> str:
        """The partition whose run is the incremental sync: the window that holds this moment."""
        key = self.partitions.definition().get_last_partition_key()
        if key is None:
            raise ValueError(f"{self.path}: partitions.start lies in the future")
        return key

    def run_tags(self) -> dict[str, str]:
        """Further tags of a run of this part."""
        return {}

    def is_of_run(self, tags: Mapping[str, str]) -> bool:
        """Whether a run with these tags, whose selection has the asset, works on this part."""
        return True

    def reads_what_waits(self, tags: Mapping[str, str]) -> bool:
        """Whether an incremental run with these tags reads no older window beside what waits."""
        newest = self.partitions.definition().get_last_partition_key()
        return {tags.get(name, newest) for name in _PARTITION_TAGS} == {newest}
