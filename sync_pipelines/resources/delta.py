"""Delta Lake: a folder or an object store (DELTA_URI)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.engine.errors import NotConfiguredError
from sync_pipelines.engine.secrets import know
from sync_pipelines.resources import environment

_SECRET = re.compile(r"secret|key|token|password|sas|credential", re.IGNORECASE)

if TYPE_CHECKING:
    from sync_pipelines.targets.delta.settings import DeltaSettings


class DeltaResource(dg.ConfigurableResource):
    """Fields that are left out come from DELTA_URI and DELTA_STORAGE_OPTIONS (a JSON object) when a run starts.

    What the store's own variables say (AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_NAME, GOOGLE_APPLICATION_CREDENTIALS,
    …) delta-rs reads by itself.
    """

    uri: str | None = None

    def configured(self) -> bool:
        """Whether a place for tables is named at all."""
        return bool(self._uri())

    def settings(self) -> DeltaSettings:
        """Where tables stand.

        Raises:
            NotConfiguredError: DELTA_URI is not set.
            ConfigurationError: it names no store, or DELTA_STORAGE_OPTIONS is no JSON object.
        """
        from sync_pipelines.targets.delta.settings import DeltaSettings

        uri = self._uri()
        if not uri:
            raise NotConfiguredError(
                "Delta is not configured: DELTA_URI is not set.",
                remedy="Set DELTA_URI to a folder or to a URL like s3://bucket/lake.",
            )
        return DeltaSettings(uri=uri, options=_options())

    def _uri(self) -> str | None:
        return self.uri or environment.value("DELTA_URI")


def _options() -> dict[str, str]:
    found = environment.json_object("DELTA_STORAGE_OPTIONS", example='{"AWS_REGION": "eu-central-1"}')
    know(*(content for name, content in found.items() if _SECRET.search(name)))
    return found
