"""The stand-in of Notion as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, ClassVar

from sync_pipelines.sandbox.notion.api import CONTROLS
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sandbox.stand_ins.control import ask
from sync_pipelines.sandbox.stand_ins.server import StandInServer


class NotionServer(StandInServer):
    """One process that serves what `api.Notion` is; its key and its workspaces are kept in its folder.

    What `api.CONTROLS` names can be asked for by these names; without `workspace`, of the first one.
    """

    name: ClassVar[str] = "the stand-in of Notion"
    module: ClassVar[str] = "sync_pipelines.sandbox.notion"
    controls: ClassVar[tuple[str, ...]] = CONTROLS
    prefix: ClassVar[str] = "ntn_"

    @property
    def url(self) -> str:
        """As NOTION_BASE_URL takes it."""
        return self.address

    @property
    def variables(self) -> dict[str, str]:
        """What points a sync at this server: its address, the token of a connection that `users add` takes, and the
        sandbox's own key, by which the ledger keeps tokens."""
        return {"NOTION_BASE_URL": self.url, "NOTION_TOKEN": self.key, "SYNC_ENCRYPTION_KEYS": self._vault_key}

    @property
    def _vault_key(self) -> str:
        """A Fernet key made of the stand-in's: what it seals is worth nothing outside of this sandbox."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.key.encode()).digest()).decode()

    def first(self) -> WorkspaceControl:
        """The workspace that is there from the beginning; its token is the server's key."""
        return WorkspaceControl(url=self.url, key=self.key, **ask(self.url, self.key, "first_workspace"))

    def workspace(self, name: str = "Workspace", **options: Any) -> WorkspaceControl:
        """A new workspace; the options are those of `api.Notion.new_workspace`."""
        return WorkspaceControl.new(self.url, self.key, name, **options)
