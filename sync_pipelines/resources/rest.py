"""REST APIs by name: the connection `cupid` is CUPID_BASE_URL and CUPID_API_KEY."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError
from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from collections.abc import Mapping


class RestResource(dg.ConfigurableResource):
    """Where APIs are and the keys to them, from the environment when a run starts."""

    def missing(self, connection: str, *, base_url: str | None, needs_key: bool) -> str | None:
        """What is not set of an API: a sentence that names the variable; None where it is in use.

        Args:
            base_url: the address that the document names, if it does.
            needs_key: whether it wants to know who asks.
        """
        if needs_key:
            name = key_name(connection)
            return None if environment.value(name) else f"{name} is not set"
        name = url_name(connection)
        return None if environment.value(name) or base_url else f"{name} is not set"

    def base_url(self, connection: str, *, base_url: str | None) -> str:
        """The API's address: `<CONNECTION>_BASE_URL`, else what the document names.

        Raises:
            ConfigurationError: neither is there.
        """
        found = environment.value(url_name(connection)) or base_url
        if found is None:
            raise ConfigurationError(
                f"The address of the API {connection!r} is not known: {url_name(connection)} is not set.",
                remedy=f"Set {url_name(connection)}, or write source.base_url.",
            )
        return found

    def headers(self, connection: str, *, header: str, scheme: str | None) -> Mapping[str, str]:
        """The header by which the API knows who asks.

        Raises:
            NotConfiguredError: the key is not set.
        """
        from sync_pipelines.sources.rest.settings import auth_headers

        name = key_name(connection)
        secret = environment.value(name)
        if secret is None:
            raise NotConfiguredError(
                f"The API {connection!r} is not configured: {name} is not set.", remedy=f"Set {name}."
            )
        return auth_headers(secret, header=header, scheme=scheme)


def key_name(connection: str) -> str:
    """The variable of an API's key."""
    return f"{connection.upper()}_API_KEY"


def url_name(connection: str) -> str:
    """The variable of an API's address."""
    return f"{connection.upper()}_BASE_URL"
