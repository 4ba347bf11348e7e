"""Users of a sync, with what they have given for secrets: sealed bytes, which this book cannot read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sync_pipelines.engine.ledger.store import Store, utc

Reseal = Callable[[bytes, str], bytes]
"""Sealed bytes and the user they are of → the same, sealed anew."""


@dataclass(frozen=True, kw_only=True)
class StoredUser:
    """A user of a sync.

    Args:
        config: where the records come from and where they go; nothing secret.
        secrets: sealed (`engine.vault`); not shown. has_state: what the source's client last knew is kept.
    """

    sync: str
    name: str
    config: Mapping[str, Any]
    secrets: bytes = field(repr=False)
    has_state: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class SealedState:
    """What a source's client last knew, sealed; `mark` tells it from what others have kept since."""

    token: bytes = field(repr=False)

    @property
    def mark(self) -> str:
        return mark_of(self.token)


def mark_of(token: bytes) -> str:
    """The mark of sealed bytes: 32 hex digits, the same as PostgreSQL's md5()."""
    return hashlib.md5(token, usedforsecurity=False).hexdigest()


class CredentialBook(Store):
    """One row a user of a sync."""

    def add_user(self, sync: str, name: str, *, config: Mapping[str, Any], secrets: bytes) -> bool:
        """Write a user down; False, and nothing is changed, where the sync has one of this name."""
        book = self._tables.credentials
        row = {"sync_type": sync, "user_name": name, "config": dict(config), "secrets": secrets}
        made = insert(book).values(row).on_conflict_do_nothing().returning(book.c.user_name)
        return self._transaction(lambda connection: connection.execute(made).one_or_none()) is not None

    def users(self, sync: str | None = None) -> list[StoredUser]:
        """The users of a sync, or of all, by name."""
        book = self._tables.credentials
        chosen = self._chosen().order_by(book.c.sync_type, book.c.user_name)
        if sync is not None:
            chosen = chosen.where(book.c.sync_type == sync)
        return [_user(row) for row in self._transaction(lambda connection: connection.execute(chosen).all())]

    def user(self, sync: str, name: str) -> StoredUser | None:
        """One user; None where there is none of this name."""
        chosen = self._chosen().where(*self._is(sync, name))
        row = self._transaction(lambda connection: connection.execute(chosen).one_or_none())
        return None if row is None else _user(row)

    def change_user(
        self, sync: str, name: str, *, config: Mapping[str, Any] | None = None, secrets: bytes | None = None
    ) -> bool:
        """Put another config or other secrets in the place of a user's; False where there is no such user."""
        given: dict[str, Any] = {"config": config and dict(config), "secrets": secrets}
        values = {name: value for name, value in given.items() if value is not None}
        change = sa.update(self._tables.credentials).where(*self._is(sync, name))
        change = change.values(**values, updated_at=sa.func.now())
        return self._transaction(lambda connection: connection.execute(change).rowcount) > 0

    def remove_user(self, sync: str, name: str) -> bool:
        """Forget a user with all secrets and state; False where there is none of this name."""
        gone = sa.delete(self._tables.credentials).where(*self._is(sync, name))
        return self._transaction(lambda connection: connection.execute(gone).rowcount) > 0

    def user_state(self, sync: str, name: str) -> SealedState | None:
        """What the user's source client last knew; None where nothing is kept, or no such user is there."""
        chosen = sa.select(self._tables.credentials.c.state).where(*self._is(sync, name))
        token = self._transaction(lambda connection: connection.execute(chosen).scalar_one_or_none())
        return None if token is None else SealedState(bytes(token))

    def keep_user_state(self, sync: str, name: str, token: bytes | None, *, was: str | None) -> bool:
        """Keep what the user's source client knows now, or nothing any more.

        Args:
            was: the mark of what it began with, None for nothing.

        Returns:
            False, and nothing is kept, where another process has kept something since, or the user is gone. It is
            True where this very token stands there: the answer to an earlier try was lost.
        """
        held = self._tables.credentials.c.state
        before = held.is_(None) if was is None else sa.func.md5(held) == was
        now = held.is_(None) if token is None else sa.func.md5(held) == mark_of(token)
        change = sa.update(self._tables.credentials).where(*self._is(sync, name), sa.or_(before, now))
        change = change.values(state=token)
        return self._transaction(lambda connection: connection.execute(change).rowcount) > 0

    def reseal_users(self, reseal: Reseal) -> int:
        """Seal the secrets and states of all users anew, in one transaction: all of them, or, after an error, none."""
        return self._transaction(lambda connection: self._resealed(connection, reseal))

    def _resealed(self, connection: sa.Connection, reseal: Reseal) -> int:
        book = self._tables.credentials
        chosen = sa.select(book.c.sync_type, book.c.user_name).order_by(book.c.sync_type, book.c.user_name)
        users: Sequence[Any] = connection.execute(chosen.with_for_update()).all()
        for sync, name in users:  # one at a time: a state is as large as the account
            held = sa.select(book.c.secrets, book.c.state).where(*self._is(sync, name))
            row = connection.execute(held).one()
            values = {key: reseal(bytes(token), name) for key, token in row._mapping.items() if token is not None}
            connection.execute(sa.update(book).where(*self._is(sync, name)).values(**values))
        return len(users)

    def _chosen(self) -> sa.Select:
        book = self._tables.credentials
        told = (book.c.sync_type, book.c.user_name, book.c.config, book.c.secrets, book.c.created_at, book.c.updated_at)
        return sa.select(*told, book.c.state.is_not(None).label("has_state"))

    def _is(self, sync: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
        book = self._tables.credentials
        return book.c.sync_type == sync, book.c.user_name == name


def _user(row: Any) -> StoredUser:
    return StoredUser(
        sync=row.sync_type,
        name=row.user_name,
        config=row.config,
        secrets=bytes(row.secrets),
        has_state=row.has_state,
        created_at=utc(row.created_at),
        updated_at=utc(row.updated_at),
    )
