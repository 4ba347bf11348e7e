"""What a run of one user's notes is bound to: Keep, as that user gives it, and that user's database in Notion."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.durations import seconds
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.settings import above_zero, resolve

if TYPE_CHECKING:
    from sync_pipelines.components.keep_to_notion import KeepToNotion
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.sources.keep.source import KeepSource
    from sync_pipelines.sources.keep.user import KeepSettings, Secrets, User
    from sync_pipelines.targets.notion.settings import NotionSettings


@dataclass(frozen=True)
class Given:
    """Resources of one binding: source, target and the run share a ledger and what was opened of the user.

    Args:
        component: of one user. resources: where it runs.
    """

    component: KeepToNotion
    resources: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.resources, name)

    @property
    def ledger(self) -> _Ledgers:
        return _Ledgers(self)

    @cached_property
    def books(self) -> Ledger:
        """The one ledger."""
        return self.resources.ledger.ledger()

    @cached_property
    def user(self) -> tuple[User, Secrets]:
        """Who it is, and their secrets.

        Raises:
            ConfigurationError: there is no such user (any more), or no key opens the secrets.
        """
        from sync_pipelines.sources.keep.user import secrets_of, user_from

        sync, name = self.component.sync, self.component.require_user()
        stored = self.books.user(sync, name)
        if stored is None:
            raise ConfigurationError(
                f"there is no user {name!r}.", sync=sync, remedy="`sync-pipelines users list` names those there are."
            )
        return user_from(stored), secrets_of(stored, self.resources.notes.vault())

    @cached_property
    def source(self) -> KeepSource:
        """The user's notes; the target asks it for attachments, too."""
        from sync_pipelines.sources.keep.source import KeepSource
        from sync_pipelines.sources.keep.user import origin_of

        user, secrets = self.user
        vault, settings = self.resources.notes.vault(), keep_settings(self.component, self.resources)
        origin = origin_of(user, secrets, ledger=self.books, vault=vault, settings=settings)
        spool = self.resources.postgres.spool_folder()
        return KeepSource(origin, self.component.spec, ledger=self.books, spool=spool)


@dataclass(frozen=True)
class _Ledgers:
    """The ledger's resource, which gives the one ledger of a binding."""

    given: Given

    def ledger(self, **_: Any) -> Ledger:
        return self.given.books

    def __getattr__(self, name: str) -> Any:
        return getattr(self.given.resources.ledger, name)


def keep_settings(component: KeepToNotion, resources: Any) -> KeepSettings:
    """How accounts are asked."""
    from sync_pipelines.sources.keep.user import KeepSettings

    block = component.source
    return KeepSettings(
        api_url=resources.notes.keep_api(),
        auth_url=resources.notes.keep_auth(),
        media_url=resources.notes.keep_media(),
        every=timedelta(seconds=seconds(block.interval)),
        deadline=seconds(block.deadline),
    )


def notion_settings(component: KeepToNotion, given: Given) -> NotionSettings:
    """How the user's database is reached."""
    from sync_pipelines.targets.notion.properties import Columns
    from sync_pipelines.targets.notion.settings import NotionSettings

    (user, secrets), block = given.user, component.target
    return NotionSettings(
        user=user.name,
        token=secrets.notion_token,
        base_url=given.resources.notes.notion_url(),
        parent_page=user.target.parent_page,
        database=user.target.database,
        title=block.title,
        columns=Columns(block.properties),
        rate_limit=rate_limit(component, given.books),
        timeout=seconds(block.timeout),
        max_blocks=block.max_blocks,
        on_delete=block.on_delete,
    )


def rate_limit(component: KeepToNotion, ledger: Ledger) -> float:
    """Requests a second to Notion, over all who use a connection.

    Raises:
        ConfigurationError: the place that decides holds no number above 0.
    """
    return resolve(
        "rate_limit",
        sync=component.sync,
        parse=above_zero,
        default=3.0,
        stored=ledger.setting(f"{component.sync}.rate_limit"),
        environment={name: text for name, text in os.environ.items() if name != "SYNC_RATE_LIMIT"},  # of REST syncs
        yaml=component.target.rate_limit,
    )


def target_parts(component: KeepToNotion, given: Given) -> dict[str, Any]:
    """`target`, `mapper` and `lock_name` of a binding."""
    from sync_pipelines.engine.conflicts import Strategy
    from sync_pipelines.engine.ledger.rates import SharedRate
    from sync_pipelines.targets.notion.absent import PartialNotionTarget

    settings, source = notion_settings(component, given), given.source
    target = PartialNotionTarget(
        settings=settings,
        sync=component.sync,
        table=component.table_name,
        ledger=given.books,
        rate=SharedRate(given.books, settings.connection),
        strategy=Strategy(component.conflicts.strategy),
        open_attachment=source.attachment,
        absent_stays=lambda: source.absent_stays,
    )
    # a user's database is written by nobody but that user's sync, whatever it is called in Notion
    return {"target": target, "mapper": mapper(component), "lock_name": f"notion:{component.path}"}


def mapper(component: KeepToNotion) -> Any:
    """A note → its page."""
    from sync_pipelines.components.functions import named_function
    from sync_pipelines.targets.notion.mapping import PageMapper

    return PageMapper(named_function("page", component.page), max_file_bytes=component.target.max_file).map
