"""A workspace of a stand-in, in whatever process it runs: what is done there beside Notion's own endpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from sync_pipelines.sandbox.notion.api import ACTS, SETTINGS
from sync_pipelines.sandbox.stand_ins.control import ask


@dataclass(frozen=True)
class WorkspaceControl:
    """A workspace with its first connection.

    What `people.People` and `settings.Settings` do can be asked for by the same names: `edit_block`, `fault`, …

    Args:
        url: of the stand-in, as NOTION_BASE_URL takes it.
        key: of its control.
        token: of the first connection, whose user is `bot`.
        person: the id of the person who acts by default.
        page: a page that the connection sees.
        root: the page above, which it does not see.
    """

    url: str
    key: str = field(repr=False)
    workspace: str
    token: str = field(repr=False)
    bot: str
    person: str
    page: str
    root: str

    @classmethod
    def new(cls, url: str, key: str, name: str = "Workspace", **options: Any) -> Self:
        """A new workspace of the stand-in at an address; the options are those of `api.Notion.new_workspace`."""
        return cls(url=url, key=key, **ask(url, key, "new_workspace", (name,), options))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in (*ACTS, *SETTINGS):
            raise AttributeError(name)
        return lambda *args, **options: ask(self.url, self.key, name, args, {**options, "workspace": self.workspace})

    def client(self, **options: Any) -> Any:
        """A client of this workspace, without retries of its own; the options are those of `ClientOptions`."""
        import httpx
        from notion_client import Client

        # Certificates, which take a tenth of a second to load, are of no use here, and no proxy stands between.
        wire = httpx.Client(verify=False, trust_env=False)
        # A logger of its own: each client without one adds a handler to the same logger.
        usual = {"auth": self.token, "base_url": self.url, "retry": False, "logger": logging.getLogger(__name__)}
        return Client({**usual, **options}, wire)
