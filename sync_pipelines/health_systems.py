"""One question to each far system of a sync: is it there, and how long does it take to say so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sync_pipelines.engine.errors import SyncError, redact

_DEADLINE = 10.0
"""Seconds for Keep to say whether it knows a user."""

Word = Literal["up", "down", "not configured", "never started", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """One system: `up` or `down` count, the other words only inform.

    Args:
        latency_ms: how long one question took; detail: where it is, without a secret; error: why it is down.
    """

    status: Word
    latency_ms: float | None = None
    detail: str | None = None
    error: str | None = None


def asked(question: Callable[[], str | None]) -> Dependency:
    """Ask a system and time it; what it raises becomes `down` with a sentence."""
    started = time.monotonic()
    try:
        detail = question()
    except SyncError as error:
        return Dependency(status="down", error=str(error))
    except Exception as error:  # a fault of a client that its module does not know is an outage to the reader
        return Dependency(status="down", error=redact(f"{type(error).__name__}: {error}"))
    return Dependency(status="up", latency_ms=round((time.monotonic() - started) * 1000, 1), detail=detail)


def ask_database(url: str) -> str:
    """Ask a database for an answer; its place, without a secret."""
    from sync_pipelines.engine.database import connect, place
    from sync_pipelines.engine.pg_errors import classified

    with classified(database=place(url)):
        connection = connect(url, "sync-pipelines health")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            connection.close()
    return place(url)


def _chroma(resources: Any) -> Dependency:
    resource = resources.chroma
    if not resource.configured():
        return Dependency(status="not configured", detail="CHROMA_URL and CHROMA_PATH are not set")
    try:
        settings = resource.settings()
    except SyncError as error:
        return Dependency(status="down", error=str(error))
    if settings.path:
        # opening it would lock out a sync that has it open, and be locked out by one
        return asked(lambda: _ask_folder(Path(settings.path).expanduser()))
    opened = asked(lambda: _ask_chroma(settings))
    return asked(lambda: _ask_chroma(settings)) if opened.status == "up" else opened


def _ask_folder(folder: Path) -> str:
    there = folder if folder.exists() else folder.absolute().parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SyncError(f"CHROMA_PATH {folder} cannot be written.")
    return str(folder)


def _ask_chroma(settings: Any) -> str:
    from sync_pipelines.targets.chroma.client import connect
    from sync_pipelines.targets.retries import RetryPolicy

    connect(settings).call(
        lambda client: client.heartbeat(),
        doing="reach the server",
        place={"sync": None, "table": None},
        retry=RetryPolicy(attempts=1),
    )
    return redact(settings.place)


def _lake(resources: Any) -> Dependency:
    """Where Delta tables are: the store, or the warehouse."""
    from sync_pipelines.resources.lake import in_databricks, not_configured

    if reason := not_configured("auto", resources):
        return Dependency(status="not configured", detail=reason.partition(": ")[2])
    ask, resource = _ask_delta, resources.delta
    if in_databricks("auto", resources):
        ask, resource = _ask_databricks, resources.databricks
    try:
        settings = resource.settings()
    except SyncError as error:
        return Dependency(status="down", error=str(error))
    return asked(lambda: ask(settings))


def _ask_databricks(settings: Any) -> str:
    """The warehouse is asked for its state, not for an answer to a statement, which would start it."""
    from sync_pipelines.targets.databricks.warehouse import Warehouse

    return f"{settings.host}, warehouse {Warehouse(settings).state()}"


def _ask_delta(settings: Any) -> str:
    """A folder must be one that we may write; a store must answer whether a table is there, which none need be."""
    if settings.is_folder:
        folder = Path(settings.root)
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise SyncError(f"DELTA_URI {settings.uri} cannot be written.")
        return str(settings.uri)
    from sync_pipelines.targets.delta.store import DeltaStore
    from sync_pipelines.targets.retries import NO_RETRY

    DeltaStore(settings, "_sync_pipelines_health", sync=None, table=None, retry=NO_RETRY).open()
    return redact(settings.uri)


def _graph(resources: Any) -> Dependency:
    from sync_pipelines.resources.neo4j import NOT_SET

    resource = resources.neo4j
    if not resource.configured():
        return Dependency(status="not configured", detail=NOT_SET)
    try:
        settings = resource.settings()
    except SyncError as error:
        return Dependency(status="down", error=str(error))
    return asked(lambda: _ask_graph(settings))


def _ask_graph(settings: Any) -> str:
    from sync_pipelines.targets.neo4j.client import ask

    return f"{settings.place}, {ask(settings)}"


def _rest(resources: Any) -> Dependency:
    """Every API in use is asked for its address; any answer says that it is there, and no record is fetched."""
    from sync_pipelines.registry import whole_tables

    rest = (bound for bound in whole_tables() if bound.component.far_system == "rest")
    found = {bound.component.source.connection: bound for bound in rest}
    used = {name: bound for name, bound in found.items() if not bound.not_configured()}
    if not used:
        reasons = sorted({str(bound.not_configured()).partition(": ")[2] for bound in found.values()})
        return Dependency(status="not configured", detail="; ".join(reasons))
    return asked(lambda: ", ".join(_ask_api(resources, bound) for bound in used.values()))


def _ask_api(resources: Any, bound: Any) -> str:
    import httpx

    source = bound.component.source
    url = resources.rest.base_url(source.connection, base_url=source.base_url)
    try:
        httpx.head(url, timeout=5.0)
    except httpx.HTTPError as error:
        raise SyncError(f"{httpx.URL(url).host} does not answer: {type(error).__name__}: {error}.") from error
    return httpx.URL(url).host


def _keep(resources: Any) -> Dependency:
    """Where each user's notes come from: an account that Google knows, or an export that can be read."""
    return _of_users(resources, "Keep")


def _notion(resources: Any) -> Dependency:
    """Who each user's connection is by Notion's word, and whether it may read where it is to write."""
    return _of_users(resources, "Notion")


def _of_users(resources: Any, system: str) -> Dependency:
    """Each user is asked for; down where it is so for one of them, unknown where nobody can say who they are."""
    from sync_pipelines.registry import whole_tables

    notes = next(bound for bound in whole_tables() if system.lower() in bound.component.far_systems)
    if reason := notes.not_configured():
        return Dependency(status="not configured", detail=reason.partition(": ")[2])
    if asked(lambda: ask_database(resources.ledger.database_url())).status == "down":  # its own line tells why
        return Dependency(status="unknown", detail="not asked: the ledger, in which its users stand, does not answer")
    return asked(lambda: _ask_users(resources, notes.component, system))


def _ask_users(resources: Any, component: Any, system: str) -> str:
    from sync_pipelines.sources.keep.user import KeepSettings
    from sync_pipelines.users import Users, tables_of

    notes = resources.notes
    keep = KeepSettings(api_url=notes.keep_api(), auth_url=notes.keep_auth(), deadline=_DEADLINE)
    with resources.ledger.ledger() as ledger:
        ledger.check()
        users = Users(
            sync=component.sync,
            ledger=ledger,
            vault=notes.vault(),
            follow=lambda *_: None,
            tables=tables_of([component]),
        )
        names = component.user_names(resources)
        given = {name: users.probe(name, keep=keep, notion_url=notes.notion_url(), only=system)[0] for name in names}
    if wrong := [f"{name}: {answer.error}" for name, answer in given.items() if not answer.good]:
        raise SyncError(" ".join(wrong))
    return "; ".join(f"{name}: {answer.told}" for name, answer in given.items())


FAR_SYSTEMS: dict[str, Callable[[Any], Dependency]] = {
    "chroma": _chroma,
    "delta": _lake,
    "keep": _keep,
    "neo4j": _graph,
    "notion": _notion,
    "rest": _rest,
}
"""By `SyncComponent.far_system`; each gets the resources."""
