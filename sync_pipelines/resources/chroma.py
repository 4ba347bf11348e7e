"""Chroma: a server (CHROMA_URL) or a folder (CHROMA_PATH)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import dagster as dg

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError
from sync_pipelines.engine.secrets import know_url
from sync_pipelines.resources import environment
from sync_pipelines.targets.chroma import address


@dataclass(frozen=True, kw_only=True)
class ChromaSettings:
    """How to reach Chroma; exactly one of `url` and `path` is set. `repr` shows no secret."""

    url: str | None
    path: str | None
    token: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    tenant: str | None = None
    database: str | None = None

    def __repr__(self) -> str:
        return f"ChromaSettings({self.place})"

    @property
    def place(self) -> str:
        """The store's name in locks and messages; a new password does not change it, and none stands in it."""
        return _without_userinfo(self.url) if self.url else f"path:{self.path}"


class ChromaResource(dg.ConfigurableResource):
    """Fields that are left out come from CHROMA_URL or CHROMA_PATH, CHROMA_TOKEN, CHROMA_HEADERS (JSON),
    CHROMA_TENANT and CHROMA_DATABASE when a run starts."""

    url: str | None = None
    path: str | None = None

    def configured(self) -> bool:
        """Whether a Chroma is named at all."""
        return bool(self._place())

    def settings(self) -> ChromaSettings:
        """What to connect to.

        Raises:
            NotConfiguredError: neither variable is set.
            ConfigurationError: both are, or one of the variables holds what no client can send; it is named.
        """
        places = self._place()
        if not places:
            raise NotConfiguredError(
                "Chroma is not configured: CHROMA_URL and CHROMA_PATH are not set.",
                remedy="Set CHROMA_URL (a server) or CHROMA_PATH (a folder).",
            )
        if len(places) > 1:
            raise ConfigurationError(
                "CHROMA_URL and CHROMA_PATH are both set.", remedy="Set one: a server or a folder."
            )
        url, token = places.get("url"), environment.value("CHROMA_TOKEN")
        example = '{"Authorization": "Bearer …"}'
        headers = tuple(environment.json_object("CHROMA_HEADERS", example=example).items())
        if url:
            know_url(url)
            address.server(url, name="url of the Chroma resource" if self.url else "CHROMA_URL")
            address.check_token(token)
            address.check_headers(headers)
        return ChromaSettings(
            url=url,
            path=places.get("path"),
            token=token,
            headers=headers,
            tenant=environment.value("CHROMA_TENANT"),
            database=environment.value("CHROMA_DATABASE"),
        )

    def _place(self) -> dict[str, str]:
        if self.url or self.path:
            named = {"url": self.url, "path": self.path}
        else:
            named = {"url": environment.value("CHROMA_URL"), "path": environment.value("CHROMA_PATH")}
        return {name: text for name, text in named.items() if text}


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
