"""How the servers of a sandbox are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sync_pipelines.sandbox.graph.arcadedb import ArcadeServer
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sandbox.server import Server

APPLICATION_DATABASE = "app"


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """How one server is.

    Attributes:
        name: the server's name.
        state: ``up``, ``down``, ``not answering``, or ``yours`` for a database that the user brought.
        address: its URL, or None; never one with a password.
        pid: its process, or None.
    """

    name: str
    state: str
    address: str | None = None
    pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class SandboxStatus:
    """How the sandbox is.

    Attributes:
        folder: where it lies.
        up: whether every server that it needs answers.
        servers: each server.
    """

    folder: str
    up: bool
    servers: tuple[ServerStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def status_of(server: Server) -> ServerStatus:
    """Ask one server now."""
    process = server.process
    if process is None:
        return ServerStatus(name=server.name, state="down")
    state = "up" if server.answers() else "not answering"
    return ServerStatus(name=server.name, state=state, address=_address(server), pid=process.pid)


def _address(server: Any) -> str:
    if isinstance(server, PostgresServer):
        return server.url(APPLICATION_DATABASE)
    return server.uri if isinstance(server, ArcadeServer) else server.url
