"""Users of syncs whose partitions are users: added, listed, tested, changed and removed (`sync-pipelines users`).

Secrets are sealed before they reach the ledger, and Dagster's instance follows what the ledger says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError, SyncError
from sync_pipelines.sources.keep.user import (
    Account,
    Export,
    KeepSettings,
    Secrets,
    User,
    origin_of,
    secrets_of,
    user_from,
)

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.credentials import StoredUser
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.vault import Vault
    from sync_pipelines.targets.notion.client import Notion
    from sync_pipelines.targets.notion.properties import Columns
    from sync_pipelines.targets.notion.records import Database

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a system said when it was asked who a user is.

    Args:
        system: Keep or Notion. told: who or what it is; error: why it does not say so.
    """

    system: str
    told: str = ""
    error: SyncError | None = None

    @property
    def good(self) -> bool:
        return self.error is None


def sync_with_users(asked: str | None = None) -> str:
    """The sync that a command speaks of: the one that is named, else the only one with users.

    Raises:
        ConfigurationError: there is none, several, or the one that is named has no users.
    """
    from sync_pipelines import registry

    found = sorted({table.component.sync for table in registry.whole_tables() if table.component.by_user})
    if asked is not None:
        if asked not in found:
            raise ConfigurationError(
                f"There is no sync {asked!r} with users.", remedy=f"There are: {', '.join(found) or 'none'}."
            )
        return asked
    if len(found) != 1:
        raise ConfigurationError(
            f"{len(found) or 'No'} syncs have users{': ' + ', '.join(found) if found else ''}.",
            remedy="Name one: --sync SYNC." if found else "A document of the kind KeepToNotion below defs/ makes one.",
        )
    return found[0]


@dataclass(frozen=True, kw_only=True)
class Users:
    """The users of one sync.

    Args:
        follow: tells Dagster of them.
        tables: how each table of the sync calls the properties of a page; its name as the documents have it, without a
            user.
    """

    sync: str
    ledger: Ledger
    vault: Vault
    follow: Callable[[str, list[str]], Any]
    tables: Mapping[str, Columns] = field(default_factory=dict)

    def add(self, user: User, secrets: Secrets) -> None:
        """Write a new user down.

        Raises:
            ConfigurationError: the name is taken or no name, no key is set, or the export is not there.
        """
        self._check(user, secrets)
        sealed = self.vault.seal(secrets.as_dict())
        if not self.ledger.add_user(self.sync, user.name, config=user.config(), secrets=sealed):
            raise ConfigurationError(
                f"there is a user {user.name!r} already.",
                sync=self.sync,
                remedy=f"Change them with `users set {user.name}` and `users rotate {user.name}`.",
            )
        self.announce()

    def require_keys(self) -> None:
        """Insist on that secrets can be sealed.

        Raises:
            ConfigurationError: no key is set, or one is none.
        """
        self.vault.check(used=bool(self.ledger.users()))

    def _check(self, user: User, secrets: Secrets) -> None:
        from sync_pipelines.components.per_user import USER

        self.require_keys()
        if not USER.fullmatch(user.name) or "..." in user.name:  # dots by which Dagster parts a range of partitions
            raise ConfigurationError(
                f"{user.name!r} is no name of a user.",
                sync=self.sync,
                remedy="Use up to 41 lower-case letters, digits, dots (not three in a row), _ and -, beginning "
                "with a letter or digit.",
            )
        if isinstance(user.source, Account) and secrets.master_token is None:
            raise ConfigurationError("An account needs its master token.", remedy="Give --master-token-file.")
        self._check_source(user)

    def _check_source(self, user: User) -> None:
        from sync_pipelines.sources.keep.takeout import Takeout

        if isinstance(user.source, Export):
            Takeout(user.source.paths).signature()  # what is said of a path that holds no export is said now
        self._check_target(user)

    def _check_target(self, user: User) -> None:
        """Refuse a database that is another user's: each would mark the other's pages as deleted."""
        wanted = user.target.database
        theirs = [one.name for one in self.all() if one.name != user.name and wanted and self._keeps(one, wanted)]
        if theirs:
            raise ConfigurationError(
                f"database {wanted} is that of user {theirs[0]!r}: each would mark the other's pages as deleted.",
                sync=self.sync,
                remedy="Name another database, or a page to make one in (--parent-page).",
            )

    def _keeps(self, user: User, database: str) -> bool:
        """Whether a user's notes go to a database: the one that they have named, or that the sync has made for them."""
        place = user.target
        known = [found for found in self._databases(user.name) if found is not None and found.is_named(database)]
        meant = (found.is_meant(database=place.database, parent_page=place.parent_page) for found in known)
        return place.database == database or any(meant)

    def all(self) -> list[User]:
        """All users, by name."""
        return [user_from(stored) for stored in self.ledger.users(self.sync)]

    def get(self, name: str) -> User:
        """A user.

        Raises:
            ConfigurationError: there is none of this name.
        """
        return user_from(self._stored(name))

    def secrets(self, name: str) -> Secrets:
        """A user's secrets.

        Raises:
            ConfigurationError: there is no such user, no key is set, or none opens them.
        """
        return secrets_of(self._stored(name), self.vault)

    def check_change(self, user: User) -> None:
        """Refuse a source or target that cannot be put in the place of a user's.

        Raises:
            ConfigurationError: there is no such user, the export is not there, or the database is another user's.
        """
        self._stored(user.name)
        self._check_source(user)

    def lacks_master_token(self, user: User) -> bool:
        """Whether a user's account would have no master token: none was given, or it is another account's."""
        if not isinstance(user.source, Account):
            return False
        before = self.get(user.name).source
        other = isinstance(before, Account) and before != user.source
        return other or self.secrets(user.name).master_token is None

    def change(self, user: User, *, master_token: str | None = None) -> None:
        """Put another source or target in the place of a user's; what is known of the account goes with it.

        Args:
            master_token: of the account, where it is a new one; it is taken with all else, or not at all.
        """
        self.check_change(user)
        before, sealed = self.get(user.name), None
        if master_token is not None:
            sealed = self._sealed_with(user.name, master_token=master_token)
        elif self.lacks_master_token(user):
            raise ConfigurationError(
                f"user {user.name!r} has given no master token of the account.",
                sync=self.sync,
                remedy=f"Give it, too: `sync-pipelines users set {user.name} --account … --master-token-file FILE`.",
            )
        self.ledger.change_user(self.sync, user.name, config=user.config(), secrets=sealed)
        if before.source != user.source and (state := self.ledger.user_state(self.sync, user.name)) is not None:
            self.ledger.keep_user_state(self.sync, user.name, None, was=state.mark)

    def rotate(self, name: str, *, notion_token: str | None = None, master_token: str | None = None) -> None:
        """Put new tokens in the place of a user's; those that are not given stay.

        Raises:
            ConfigurationError: there is no such user, or no key opens what they have given before.
        """
        sealed = self._sealed_with(name, notion_token=notion_token, master_token=master_token)
        self.ledger.change_user(self.sync, name, secrets=sealed)

    def _sealed_with(self, name: str, *, notion_token: str | None = None, master_token: str | None = None) -> bytes:
        found = self.secrets(name).with_new(notion_token=notion_token, master_token=master_token)
        return self.vault.seal(found.as_dict())

    def remove(self, name: str) -> None:
        """Forget a user with all secrets. Pages in Notion stay, and so does the history in the ledger.

        Raises:
            ConfigurationError: there is none of this name.
        """
        self._stored(name)
        self.ledger.remove_user(self.sync, name)
        self.announce()

    def announce(self) -> None:
        """Let Dagster's instance have just these users as partitions; where it cannot now, the next tick does it."""
        names = [stored.name for stored in self.ledger.users(self.sync)]
        try:
            self.follow(self.sync, names)
        except Exception as error:  # of Dagster's storage: the user is written down, which is what counts
            told = "Dagster was not told of the users of %s; the next tick does it: %s"
            _log.warning(told, self.sync, f"{type(error).__name__}: {error}")

    def probe(
        self, name: str, *, keep: KeepSettings, notion_url: str | None = None, only: str | None = None
    ) -> list[Answer]:
        """Ask Keep and Notion who a user is, each whatever the other says; `only` one of the two."""
        user, secrets = self.get(name), self.secrets(name)
        answers = []
        for system, ask in (
            ("Keep", lambda: self._ask_keep(user, secrets, keep)),
            ("Notion", lambda: self._ask_notion(user, secrets, notion_url)),
        ):
            if only not in (None, system):
                continue
            try:
                answers.append(Answer(system=system, told=ask()))
            except SyncError as error:
                answers.append(Answer(system=system, error=error))
        return answers

    def _ask_keep(self, user: User, secrets: Secrets, settings: KeepSettings) -> str:
        from sync_pipelines.sources.keep.account import AccountOrigin
        from sync_pipelines.sources.keep.export import NO_NOTES
        from sync_pipelines.sources.keep.parts import parts_of

        origin = origin_of(user, secrets, ledger=self.ledger, vault=self.vault, settings=settings)
        if isinstance(origin, AccountOrigin):
            origin.client.check()
            return f"{user.source}: Google takes its master token"
        origin.takeout.signature()
        parts = len(parts_of(origin.takeout.paths))
        empty = "" if origin.takeout.may_hold_notes() else f"; {NO_NOTES}"
        return f"{user.source}: {parts} part{'s' if parts != 1 else ''}{empty}"

    def _ask_notion(self, user: User, secrets: Secrets, url: str | None) -> str:
        from sync_pipelines.targets.notion.properties import Columns

        self._check_target(user)
        known = list(zip(self.tables.values(), self._databases(user.name), strict=True)) or [(Columns(), None)]
        return _ask_notion(user, secrets, url, self.ledger, known)

    def _databases(self, name: str) -> list[Database | None]:
        """What is on record of a user's databases, one a table; None before the first sync."""
        from sync_pipelines.components.per_user import SEPARATOR
        from sync_pipelines.targets.notion.records import Records

        tables = [f"{table}{SEPARATOR}{name}" for table in self.tables]
        return [Records(self.ledger, (self.sync, table)).database() for table in tables]

    def _stored(self, name: str) -> StoredUser:
        found = self.ledger.user(self.sync, name)
        if found is None:
            names = [user.name for user in self.ledger.users(self.sync)]
            raise ConfigurationError(
                f"there is no user {name!r}.",
                sync=self.sync,
                remedy=f"There are: {', '.join(names)}." if names else "Add one: `sync-pipelines users add`.",
            )
        return found


def reseal(ledger: Ledger, vault: Vault) -> int:
    """Seal all users' secrets, of every sync, with the first key; how many users there are.

    Raises:
        ConfigurationError: no key opens one of them; then nothing was changed.
    """
    vault.check(used=bool(ledger.users()))
    return ledger.reseal_users(lambda token, name: vault.rotate(token, what=f"the secrets of user {name!r}"))


def users_of(sync: str) -> Users:
    """The users of a sync in this environment."""
    from sync_pipelines import registry
    from sync_pipelines.user_partitions import follow

    components = [bound.component for bound in registry.whole_tables(sync) if bound.component.by_user]
    found = registry.resources()
    ledger = found.ledger.ledger()
    ledger.check()
    return Users(sync=sync, ledger=ledger, vault=found.notes.vault(), follow=follow, tables=tables_of(components))


def tables_of(components: Iterable[Any]) -> dict[str, Columns]:
    """The tables of documents, as `Users` takes them."""
    from sync_pipelines.targets.notion.properties import Columns

    return {component.document_name: Columns(component.target.properties) for component in components}


def with_complete(user: User, complete: bool) -> User:
    """A user whose export is stated complete, or not any more.

    Raises:
        ConfigurationError: an account is always complete.
    """
    if not isinstance(user.source, Export):
        raise ConfigurationError(f"user {user.name!r} has an account, which is always complete.", sync=user.sync)
    return replace(user, source=replace(user.source, complete=complete))


def _ask_notion(
    user: User,
    secrets: Secrets,
    base_url: str | None,
    ledger: Ledger,
    known: Iterable[tuple[Columns, Database | None]],
) -> str:
    """Who the connection is, after a look at the databases that are on record, or at what the user has named.

    Args:
        known: of each table how it calls the properties of a page, and its database, where there was a sync.
    """
    from sync_pipelines.engine.ledger.rates import SharedRate
    from sync_pipelines.targets.notion.client import Notion
    from sync_pipelines.targets.notion.settings import BASE_URL, NotionSettings

    place = user.target
    settings = NotionSettings(
        user=user.name,
        token=secrets.notion_token,
        base_url=base_url or BASE_URL,
        database=place.database,
        parent_page=place.parent_page,
    ).hasty()
    notion = Notion(settings, rate=SharedRate(ledger, settings.connection), where={"sync": user.sync})
    try:
        who = notion.ask("ask who the connection is", lambda client: client.users.me())
        for columns, database in known:
            notion.settings = replace(settings, columns=columns)
            _look_at(notion, database)
    finally:
        notion.close()
    return f"connection {who.get('name') or who['id']}, which may read {place}"


def _look_at(notion: Notion, database: Database | None) -> None:
    from sync_pipelines.targets.notion.database import require_there
    from sync_pipelines.targets.notion.errors import GoneError, RefusedError

    found = require_there(notion, database)
    with suppress(GoneError, RefusedError):  # comments of a database are asked for to see whether it may
        notion.has_comments(found)
