"""A user of notes: where the notes come from, where they go, and with which secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine import secrets
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.ledger.credentials import StoredUser

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.vault import Vault
    from sync_pipelines.sources.keep.account import AccountOrigin
    from sync_pipelines.sources.keep.export import ExportOrigin

_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.I)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Notes of an export of Takeout; `complete`: all its parts are there, so that what is missing was deleted."""

    paths: tuple[str, ...]
    complete: bool = False

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigurationError("No path of an export is named.", remedy="Name its zip files, or its folder.")

    def __str__(self) -> str:
        return f"export {', '.join(self.paths)}{' (complete)' if self.complete else ''}"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Notes of a live account."""

    email: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", self.email):
            raise ConfigurationError(f"{self.email!r} is no e-mail address.", remedy="Give the account's address.")

    def __str__(self) -> str:
        return f"account {self.email}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where pages are written: a database that is there, or one that the sync makes below a page. Ids of Notion."""

    database: str | None = None
    parent_page: str | None = None

    def __post_init__(self) -> None:
        if (self.database is None) == (self.parent_page is None):
            raise ConfigurationError(
                "Either a database of Notion is named, or a page to make one in.",
                remedy="Give --database ID or --parent-page ID.",
            )

    def __str__(self) -> str:
        return f"database {self.database}" if self.database else f"a database below page {self.parent_page}"


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of a sync of notes."""

    sync: str
    name: str
    source: Export | Account
    target: Place
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def config(self) -> dict[str, Any]:
        """As the ledger keeps it; nothing secret."""
        source: dict[str, Any] = (
            {"account": self.source.email}
            if isinstance(self.source, Account)
            else {"takeout": list(self.source.paths), "complete": self.source.complete}
        )
        target = {"database": self.target.database, "parent_page": self.target.parent_page}
        return {"source": source, "target": {name: value for name, value in target.items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What a user has given in confidence; hidden in every text from then on. `master_token`: of accounts alone."""

    notion_token: str = field(repr=False)
    master_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        secrets.know(self.notion_token, self.master_token)

    def as_dict(self) -> dict[str, str | None]:
        """As the vault seals it."""
        return {"notion_token": self.notion_token, "master_token": self.master_token}

    def with_new(self, *, notion_token: str | None, master_token: str | None) -> Secrets:
        """These, but for what is given anew."""
        return replace(
            self, notion_token=notion_token or self.notion_token, master_token=master_token or self.master_token
        )


def user_from(stored: StoredUser) -> User:
    """A user as the ledger has them.

    Raises:
        ConfigurationError: what stands there is of another form.
    """
    try:
        source, target = stored.config["source"], stored.config["target"]
        found: Export | Account = (
            Account(email=source["account"])
            if "account" in source
            else Export(paths=tuple(source["takeout"]), complete=source["complete"])
        )
        place = Place(database=target.get("database"), parent_page=target.get("parent_page"))
    except (KeyError, TypeError, AttributeError):
        raise ConfigurationError(
            f"what the ledger holds of user {stored.name!r} is of another form.",
            sync=stored.sync,
            remedy=f"Remove and add them: `sync-pipelines users remove {stored.name}`.",
        ) from None
    return User(
        sync=stored.sync,
        name=stored.name,
        source=found,
        target=place,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def secrets_of(stored: StoredUser, vault: Vault) -> Secrets:
    """A user's secrets, opened.

    Raises:
        ConfigurationError: no key is set, or none opens them.
    """
    found = vault.open(stored.secrets, what=f"{stored.sync}: the secrets of user {stored.name!r}")
    return Secrets(notion_token=found["notion_token"], master_token=found.get("master_token"))


@dataclass(frozen=True, kw_only=True)
class KeepSettings:
    """How accounts are asked: Google's addresses where None; `every`: how long one is taken for unchanged.

    `deadline`: seconds that one look may take with all its waiting.
    """

    api_url: str | None = None
    auth_url: str | None = None
    media_url: str | None = None
    every: timedelta = timedelta(hours=1)
    deadline: float = 300.0


def origin_of(
    user: User, secrets: Secrets, *, ledger: Ledger, vault: Vault, settings: KeepSettings | None = None
) -> ExportOrigin | AccountOrigin:
    """Where a user's notes come from; nothing is opened or asked yet.

    Raises:
        ConfigurationError: an account without a master token.
    """
    from sync_pipelines.sources.keep.account import AccountOrigin, Client, Login
    from sync_pipelines.sources.keep.export import ExportOrigin
    from sync_pipelines.sources.keep.state import SealedStates

    if isinstance(user.source, Export):
        return ExportOrigin(user.source.paths, complete=user.source.complete, user=user.name)
    if secrets.master_token is None:
        raise ConfigurationError(
            f"user {user.name!r} has given no master token of the account.",
            sync=user.sync,
            remedy=f"Give it with `sync-pipelines users rotate {user.name}`.",
        )
    given = settings or KeepSettings()
    login = Login(
        sync=user.sync,
        user=user.name,
        email=user.source.email,
        master_token=secrets.master_token,
        api_url=given.api_url,
        auth_url=given.auth_url,
        media_url=given.media_url,
        timeout=min(60.0, given.deadline),
        deadline=given.deadline,
    )
    states = SealedStates(book=ledger, vault=vault, sync=user.sync, user=user.name, account=login.email)
    return AccountOrigin(Client(login), states, every=given.every)


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths, and patterns of them, as whichever process reads them finds them."""
    return tuple(str(Path(path).expanduser().absolute()) for path in paths)


def notion_id(text: str) -> str:
    """The id in what Notion shows of a page or database: an id, with or without dashes, or an address.

    Raises:
        ConfigurationError: there is none in it.
    """
    found = _ID.findall(text.partition("?")[0])  # behind it stands the id of a view
    if not found:
        raise ConfigurationError(
            f"{text!r} holds no id of Notion.",
            remedy="Copy the link to the page or database, or give the 32 hex digits in it.",
        )
    digits = found[-1].replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
