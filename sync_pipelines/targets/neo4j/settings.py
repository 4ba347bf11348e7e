"""How to reach a graph, and how its place is spelled in locks and messages."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.secrets import know, know_url

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
PORT = 7687


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """How to reach a graph; `repr` shows no secret.

    Args:
        uri: checked by `address`. password: empty where the server asks for none.
    """

    uri: str
    user: str = "neo4j"
    password: str = ""
    database: str = "neo4j"

    def __post_init__(self) -> None:
        know(self.password)

    def __repr__(self) -> str:
        return f"GraphSettings({self.place})"

    @property
    def place(self) -> str:
        """The graph's name in messages."""
        return f"{self.uri}/{self.database}"

    @property
    def lock_name(self) -> str:
        """The lock that every writer takes: a graph is one target, whichever scheme leads to it.

        What no spelling tells stays apart: a host's name and its address, two members of a cluster.
        """
        parts = urlsplit(self.uri)
        return f"graph:{(parts.hostname or '').rstrip('.')}:{parts.port or PORT}/{self.database.lower()}"


def address(uri: str, *, name: str) -> str:
    """The address as it is, after a look at its form: the driver names no variable.

    Args:
        name: where it comes from (a variable), for the sentence.

    Raises:
        ConfigurationError: it is none, or holds a login.
    """
    know_url(uri)
    if (wrong := _wrong(uri)) is None:
        return uri
    raise ConfigurationError(f"{name} {wrong}.", remedy=f"Write it like bolt://host:{PORT} or neo4j+s://host.")


def _wrong(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - it raises where it is no number
    except ValueError:
        return "is no address"
    if parts.scheme not in SCHEMES:
        return f"begins with none of {', '.join(SCHEMES)}"
    return _wrong_parts(parts)


def _wrong_parts(parts: SplitResult) -> str | None:
    if not parts.hostname:
        return "names no host"
    if "@" in parts.netloc:
        return "holds a login: set NEO4J_USER and NEO4J_PASSWORD instead"
    if parts.path not in ("", "/") or parts.fragment:
        return "has a path: the database is named by NEO4J_DATABASE"
    if parts.query and not parts.scheme.startswith("neo4j"):
        return "has a query, which only neo4j:// takes"
    return None
