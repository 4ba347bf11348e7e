"""How a user's Notion database is reached, and how its place is spelled in locks and messages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from sync_pipelines.engine.errors import LONGEST_WAIT, ConfigurationError
from sync_pipelines.engine.secrets import know
from sync_pipelines.targets.notion.properties import Columns
from sync_pipelines.targets.retries import RetryPolicy

BASE_URL = "https://api.notion.com"

_PATIENCE = 10.0
"""Seconds that somebody waits for an answer at a terminal."""

_RESTS = 3
"""So often may Notion ask for a pause, of a quarter of an hour each, before one request has failed."""


@dataclass(frozen=True, kw_only=True)
class NotionSettings:
    """How to reach a database; `repr` shows no secret.

    Args:
        user: whose database it is, for messages. token: the connection's. base_url: without the version of the API.
        parent_page: the page below which the sync makes the database; database: an existing one, or
            data_source: one of its data sources. One of them at least; an existing one is taken before a new one.
        title: of the database that the sync makes. columns: how its properties are called.
        rate_limit: requests a second, over all who use the connection. timeout: seconds for one answer.
        max_blocks: so many blocks may the sync make there in all; None: no limit. Notion's free workspaces of several
            people hold 1,000 for life, and give none back.
        on_delete: `mark` sets `Deleted in Keep`; `trash` puts a page that holds nothing of people into Notion's trash.
        retry: of each request. patience: who is told to wait longer before a request gives up; None: nobody.
    """

    user: str
    token: str = field(repr=False)
    base_url: str = BASE_URL
    parent_page: str | None = None
    database: str | None = None
    data_source: str | None = None
    title: str = "Google Keep"
    columns: Columns = field(default_factory=Columns)
    rate_limit: float = 3.0
    timeout: float = 60.0
    max_blocks: int | None = None
    on_delete: Literal["mark", "trash"] = "mark"
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(budget_seconds=LONGEST_WAIT, rests=_RESTS))
    patience: float | None = None

    def __post_init__(self) -> None:
        know(self.token)
        if not self.token.isascii() or not self.token.isprintable() or not self.token.strip():
            raise ConfigurationError("The Notion token is empty, or holds what no HTTP header can.")
        if not (self.parent_page or self.database or self.data_source):
            raise ConfigurationError("Neither a Notion database nor the page below which to make one is named.")
        if not 0 < self.rate_limit < float("inf"):
            raise ConfigurationError(f"The rate limit of Notion is {self.rate_limit!r}: a number above 0 is wanted.")
        if self.max_blocks is not None and self.max_blocks < 0:
            raise ConfigurationError(f"max_blocks is {self.max_blocks}: it cannot be negative.")
        if self.on_delete not in ("mark", "trash"):
            raise ConfigurationError(f"on_delete is {self.on_delete!r}: mark or trash is wanted.")

    @property
    def host(self) -> str:
        """For messages."""
        return urlsplit(self.base_url).netloc or self.base_url

    @property
    def connection(self) -> str:
        """The name of the connection's rate: all who use this token share it. It does not tell the token."""
        mark = hashlib.sha256(f"sync_pipelines\nnotion\n{self.token}".encode()).hexdigest()[:12]
        return f"{self.host} {mark}"

    def hasty(self) -> NotionSettings:
        """The same, for a question whose answer somebody waits for: `status`, `health`, `users test`."""
        retry = replace(self.retry, budget_seconds=min(self.retry.budget_seconds, _PATIENCE), rests=0)
        return replace(self, retry=retry, timeout=min(self.timeout, _PATIENCE), patience=_PATIENCE)

    def where(self, sync: str | None, table: str | None) -> dict[str, Any]:
        """Sync and table, as the engine's errors take them."""
        return {"sync": sync, "table": table}
