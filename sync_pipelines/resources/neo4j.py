"""A graph over Bolt: Neo4j, or what speaks like it (NEO4J_…)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from sync_pipelines.engine.errors import NotConfiguredError
from sync_pipelines.resources import environment

if TYPE_CHECKING:
    from sync_pipelines.targets.neo4j.settings import GraphSettings

NOT_SET = "NEO4J_URI and NEO4J_PASSWORD are not set"
"""One of them says that a graph is in use."""


class Neo4jResource(dg.ConfigurableResource):
    """Fields that are left out come from NEO4J_URI (bolt://localhost:7687), NEO4J_USER (neo4j), NEO4J_PASSWORD and
    NEO4J_DATABASE (neo4j) when a run starts."""

    uri: str | None = None
    user: str | None = None
    password: str | None = None
    database: str | None = None

    def configured(self) -> bool:
        """Whether a graph is named at all."""
        return bool(self._uri() or self._password())

    def settings(self) -> GraphSettings:
        """What to connect to.

        Raises:
            NotConfiguredError: neither an address nor a password is set.
            ConfigurationError: NEO4J_URI holds no address.
        """
        from sync_pipelines.targets.neo4j.settings import PORT, GraphSettings, address

        if not self.configured():
            raise NotConfiguredError(
                f"The graph is not configured: {NOT_SET}.", remedy="Set NEO4J_PASSWORD, and NEO4J_URI if need be."
            )
        uri = self._uri() or f"bolt://localhost:{PORT}"
        return GraphSettings(
            uri=address(uri, name="uri of the Neo4j resource" if self.uri else "NEO4J_URI"),
            user=self.user or environment.value("NEO4J_USER") or "neo4j",
            password=self._password() or "",
            database=self.database or environment.value("NEO4J_DATABASE") or "neo4j",
        )

    def _uri(self) -> str | None:
        return self.uri or environment.value("NEO4J_URI")

    def _password(self) -> str | None:
        return self.password or environment.value("NEO4J_PASSWORD")
