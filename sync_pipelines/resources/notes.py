"""Google Keep and Notion: where their services are. Their users, with their tokens, stand in the ledger, encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from pathlib import Path

    from sync_pipelines.engine.vault import Vault
    from sync_pipelines.targets.notion.shared import SharedListings

NOTION_URL = "https://api.notion.com"


class NotesResource(dg.ConfigurableResource):
    """Fields that are left out come from the environment when a run starts."""

    notion_base_url: str | None = None
    keep_api_url: str | None = None
    keep_auth_url: str | None = None
    keep_media_url: str | None = None
    _listings: Any = PrivateAttr(default=None)

    def notion_url(self) -> str:
        """`NOTION_BASE_URL`, else Notion's own."""
        return self.notion_base_url or environment.value("NOTION_BASE_URL") or NOTION_URL

    def keep_api(self) -> str | None:
        """`KEEP_API_URL`; None for Google's own."""
        return self.keep_api_url or environment.value("KEEP_API_URL")

    def keep_auth(self) -> str | None:
        """`KEEP_AUTH_URL`; None for Google's own."""
        return self.keep_auth_url or environment.value("KEEP_AUTH_URL")

    def keep_media(self) -> str | None:
        """`KEEP_MEDIA_URL`, where attachments lie; None for Google's own."""
        return self.keep_media_url or environment.value("KEEP_MEDIA_URL")

    def vault(self) -> Vault:
        """What opens users' secrets: the keys of `SYNC_ENCRYPTION_KEYS`, which are looked at when they are needed."""
        from sync_pipelines.engine.vault import VARIABLE, Vault

        return Vault(environment.value(VARIABLE))

    def listings(self, run_id: str, folder: Path | None) -> SharedListings:
        """What the checks of a run share; those of the run before go.

        Args:
            folder: where listings are spooled.
        """
        from sync_pipelines.targets.notion.shared import SharedListings

        if self._listings is None or self._listings.run_id != run_id:
            self._listings = SharedListings(run_id, folder)
        return self._listings
