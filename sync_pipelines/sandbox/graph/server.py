"""What both graph servers have in common: a password that is made with the folder, and how they are asked."""

from __future__ import annotations

import secrets
import socket
from typing import ClassVar

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import remove
from sync_pipelines.sandbox.processes import LOOPBACK
from sync_pipelines.sandbox.server import Server


class GraphServer(Server):
    """A graph database that speaks Bolt on 127.0.0.1; all its data lies under one folder.

    Attributes:
        user, database: as NEO4J_USER and NEO4J_DATABASE have them.
    """

    # Java takes six seconds on an idle machine, and a minute where four others want its two cores.
    start_seconds: ClassVar[float] = 180.0
    busy_signs: ClassVar[tuple[str, ...]] = ("Address already in use",)

    user = "neo4j"
    database = "neo4j"

    @property
    def uri(self) -> str:
        """The server's address, as NEO4J_URI has it."""
        return f"bolt://{LOOPBACK}:{self.port}"

    @property
    def password(self) -> str:
        """The password, made with the folder and kept."""
        file = self.folder / "password"
        if not file.exists():
            raise SandboxError(f"{self.name} in {self.folder} has never been started.")
        return file.read_text().strip()

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which a sync finds it."""
        values = {"URI": self.uri, "USER": self.user, "PASSWORD": self.password, "DATABASE": self.database}
        return {f"NEO4J_{name}": value for name, value in values.items()}

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        remove(self.folder)

    def _make_password(self) -> None:
        file = self.folder / "password"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"{secrets.token_urlsafe(18)}\n")

    def _answers(self) -> bool:
        # The driver would wait by itself, in pauses that double; a port that nobody listens on is told at once.
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=2).close()
        except OSError:
            return False
        return self._is_ready()

    def _is_ready(self) -> bool:
        """Whether the database can be asked; Neo4j listens a moment before."""
        from neo4j import GraphDatabase
        from neo4j.exceptions import DriverError, Neo4jError

        login = (self.user, self.password)
        with GraphDatabase.driver(self.uri, auth=login, connection_timeout=5, telemetry_disabled=True) as driver:
            try:
                with driver.session(database=self.database) as session:
                    session.run("RETURN 1").consume()
            except (DriverError, Neo4jError):
                return False
        return True
