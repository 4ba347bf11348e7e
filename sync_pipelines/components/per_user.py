"""Kinds of sync whose partitions are users: each has a watermark, a lock, a quarantine and a proof of their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Self

import dagster as dg
from pydantic import PrivateAttr, model_validator

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.engine.errors import ConfigurationError, MigrationDueError, SyncError
from sync_pipelines.user_partitions import partitions_name, users_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipelines.engine.binding import Binding

USER = re.compile(r"^[a-z0-9][a-z0-9._-]{0,40}$")
"""What a user may be called: it is a partition's key, and a part of the names of tables and tags."""

SEPARATOR = ":"
"""Between the table and the user, in paths and in the ledger: `notes/pages:ann`."""


class PerUser(SyncComponent):
    """A table of which every user has a part of their own; what the document describes is the same for all of them.

    The component as it was loaded speaks of the whole; `for_user` gives it as it is for one user, and only that is
    bound to systems.
    """

    by_user: ClassVar[bool] = True

    _user: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _partitions_are_users(self) -> Self:
        if "partitions" in self.model_fields_set:
            raise ValueError("partitions: a partition of this sync is a user, so there is nothing to choose")
        return self

    @property
    def user(self) -> str | None:
        return self._user

    def for_user(self, name: str) -> Self:
        if not USER.match(name):
            raise ConfigurationError(
                f"{name!r} is no name of a user.",
                sync=self.sync,
                table=self.document_name,
                remedy="Use up to 41 lower-case letters, digits, dots, _ and -, beginning with a letter or digit.",
            )
        found = self.model_copy()
        found.__dict__.pop("spec", None)  # made of the whole, perhaps
        found._user = name
        return found

    def whole(self) -> Self:
        found = self.model_copy()
        found.__dict__.pop("spec", None)
        found._user = None
        return found

    def part(self, name: str) -> Self:
        """The part that a table's name in a command or a run's config means: `pages:ann`, or `pages` for the whole."""
        _, _, user = name.partition(SEPARATOR)
        return self.for_user(user) if user else self

    def user_names(self, resources: Any, *, patient: bool | None = None) -> list[str]:
        """The users of the sync, in the order of their names: those whose credentials the ledger holds.

        Args:
            patient: whether a restart of the ledger's database is waited out; as its resource does if left out.

        Raises:
            TransientError, MigrationDueError, ConfigurationError: the ledger cannot be asked.
        """
        with resources.ledger.ledger(patient=patient) as ledger:
            return [user.name for user in ledger.users(self.sync)]

    def parts(self, resources: Any, *, patient: bool | None = None) -> Sequence[Self]:
        return [self] if self.user else [self.for_user(name) for name in self.user_names(resources, patient=patient)]

    def not_configured(self, resources: Any) -> str | None:
        """There is no ledger, or nobody in it. One that does not answer says neither: whoever binds is told so."""
        from sync_pipelines.resources.environment import NoDatabaseError

        if self.user:
            return None
        try:
            names = self.user_names(resources, patient=False)
        except NoDatabaseError as error:
            return f"not configured: {error.message.rstrip('.')}"
        except MigrationDueError:
            return f"not configured: its ledger is not made (`sync-pipelines db upgrade`), so {self._nobody}"
        except SyncError:
            return None
        return None if names else f"not configured: {self._nobody}"

    @property
    def _nobody(self) -> str:
        return "it has no user (`sync-pipelines users add`)"

    def require_user(self) -> str:
        """The user, where one is needed.

        Raises:
            ConfigurationError: this is the whole table.
        """
        if self.user is None:
            raise ConfigurationError(
                "every user has a part of this table for themselves, and none is named.",
                sync=self.sync,
                table=self.table_name,
                remedy=f"Name one: {self.path}{SEPARATOR}USER.",
            )
        return self.user

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        if self.user is None:
            self.user_names(resources, patient=False)  # a ledger that does not answer is what is to be said first
        self.require_user()
        return super().bind(resources, batch_size=batch_size)

    @property
    def document_name(self) -> str:
        """The table's name as its document has it: of the database in Notion, or of whatever a kind writes."""
        assert self.name is not None
        return self.name

    @property
    def table_name(self) -> str:
        return f"{self.document_name}{SEPARATOR}{self.user}" if self.user else self.document_name

    @property
    def whole_path(self) -> str:
        return f"{self.sync}/{self.document_name}"

    @property
    def asset_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.sync, self.document_name])

    @property
    def op_name(self) -> str:
        return f"{self.sync}__{self.document_name}"

    @property
    def pool(self) -> str | None:
        # Dagster's pools belong to a step, not to a partition: one of them would let a single user's first sync of
        # some hours, or an account that does not answer, hold up all others. Runs of one user queue by their tag
        # (`dagster.yaml`), and the lock of the user's target is what counts.
        return None

    def partitions_definition(self) -> dg.PartitionsDefinition:
        return dg.DynamicPartitionsDefinition(name=partitions_name(self.sync))

    def backfill_policy(self) -> dg.BackfillPolicy:
        return dg.BackfillPolicy.multi_run(max_partitions_per_run=1)

    def newest_partition(self) -> str:
        return self.require_user()

    def run_tags(self) -> dict[str, str]:
        return {"sync/user": f"{self.sync}/{self.user}"} if self.user else {}

    def is_of_run(self, tags: Any) -> bool:
        """Whether a run with these tags, whose selection has the asset, works on this part."""
        asked = users_of(tags)
        return self.user is None or asked is None or self.user in asked

    def reads_what_waits(self, tags: Any) -> bool:
        return True
