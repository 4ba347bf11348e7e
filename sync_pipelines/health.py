"""Whether the systems of this environment can be reached, and, on demand, whether every table fits its document."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sync_pipelines import __version__
from sync_pipelines.engine.errors import SyncError, redact
from sync_pipelines.health_systems import FAR_SYSTEMS, Dependency, ask_database, asked
from sync_pipelines.outages import Outages
from sync_pipelines.sync_health import SyncHealth, sync_health

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from sync_pipelines.registry import BoundTable

DEFS = Path(__file__).resolve().parent / "defs"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that `--connect` found to be wrong: where, and one sentence with the remedy."""

    where: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """How this environment is. `findings` and `warnings` are None where nobody asked for them."""

    status: Literal["healthy", "degraded"]
    version: str
    checked_at: datetime
    dependencies: dict[str, Dependency]
    syncs: dict[str, SyncHealth] = field(default_factory=dict)
    findings: tuple[Finding, ...] | None = None
    warnings: tuple[Finding, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `findings` and `warnings` only where they were asked for."""
        syncs = {name: found.as_dict() for name, found in self.syncs.items()}
        checked_at = self.checked_at.astimezone(UTC).isoformat()
        values = {**asdict(self), "syncs": syncs, "checked_at": checked_at}
        return {name: value for name, value in values.items() if value is not None}


def health(*, connect: bool = False) -> Health:
    """Ask every system once.

    Args:
        connect: also look at every table, the migrations, the capture and the documents.
    """
    from sync_pipelines.registry import tables

    chosen = [bound for bound in tables() if not bound.not_configured()]
    with ExitStack() as stack:
        # once: a storage that refuses the password does so for 10 s
        instance, dagster = _dagster(stack)
        dependencies = dict(_systems(tables(), in_use=bool(chosen)))
        dependencies |= {"dagster": dagster, "dagster_daemon": _daemon(instance, dagster)}
        syncs = _syncs(instance)
    findings = tuple(_findings(chosen)) if connect else None
    wrong = {finding.where for finding in findings or ()}
    warnings = tuple(_warnings([bound for bound in chosen if bound.path not in wrong])) if connect else None
    good = not findings and all(found.status != "down" for found in dependencies.values())
    return Health(
        status="healthy" if good else "degraded",
        version=__version__,
        checked_at=datetime.now(UTC),
        dependencies=dependencies,
        syncs=syncs,
        findings=findings,
        warnings=warnings,
    )


def _syncs(instance: DagsterInstance | None) -> dict[str, SyncHealth]:
    """How each sync is, by its tables' last proofs and Dagster's own state of what starts it."""
    from sync_pipelines.reporting import status_report
    from sync_pipelines.switching import started

    return sync_health(status_report(), None if instance is None else started(instance))


def _systems(found: list[BoundTable], *, in_use: bool) -> Iterator[tuple[str, Dependency]]:
    yield from _databases(in_use=in_use)
    for system in sorted({name for bound in found for name in bound.component.far_systems}):
        yield system, FAR_SYSTEMS[system](found[0].resources)


def _databases(*, in_use: bool) -> Iterator[tuple[str, Dependency]]:
    """A database that nobody names is only missed where a sync is in use."""
    from sync_pipelines.registry import databases
    from sync_pipelines.resources.environment import NoDatabaseError

    try:
        found = databases()
    except NoDatabaseError as error:
        if in_use:
            yield "database", Dependency(status="down", error=str(error))
        else:
            yield "database", Dependency(status="not configured", detail=error.message)
        return
    except SyncError as error:
        yield "database", Dependency(status="down", error=str(error))
        return
    for database in found:
        yield f"database:{database.name}", asked(lambda database=database: ask_database(database.url))


def _dagster(stack: ExitStack) -> tuple[DagsterInstance | None, Dependency]:
    """The instance, open until the stack is closed, and how it is; None where there is none to ask."""
    if not os.environ.get("DAGSTER_HOME", "").strip():
        return None, Dependency(status="not configured", detail="DAGSTER_HOME is not set")
    answers: list[tuple[DagsterInstance, Dependency]] = []
    opened = asked(lambda: answers.append(_open_instance(stack)))
    return answers[0] if answers else (None, opened)


def _open_instance(stack: ExitStack) -> tuple[DagsterInstance, Dependency]:
    """Ask an instance that is open already: opening it imports and migrates, which is not its latency."""
    from sync_pipelines.launch import dagster_instance

    instance = stack.enter_context(dagster_instance())

    def question() -> str:
        instance.get_runs_count()
        return instance.root_directory

    question()
    return instance, asked(question)


def _daemon(instance: DagsterInstance | None, dagster: Dependency) -> Dependency:
    """Down when its heartbeats are old; an environment that never had a daemon is none the worse."""
    from sync_pipelines.daemons import expected, silent_daemons
    from sync_pipelines.launch import HEARTBEAT_SECONDS

    if instance is None:
        return dagster
    try:
        beats = [heartbeat.timestamp for heartbeat in instance.get_daemon_heartbeats().values()]
        silent = silent_daemons(instance)
        why = None if beats else expected(instance)
    except Exception as error:
        return Dependency(status="down", error=redact(str(error)))
    if not beats:
        return _never_started(why)
    last = f"last heartbeat {datetime.fromtimestamp(max(beats), UTC):%Y-%m-%d %H:%M:%S} UTC"
    if not silent:
        return Dependency(status="up", detail=last)
    late = f"no heartbeat for more than {HEARTBEAT_SECONDS:.0f} s of {', '.join(silent)}; {_START}"
    return Dependency(status="down", detail=last, error=f"The Dagster daemon: {late}")


_START = "start `dagster dev`, or `dagster-daemon run`."


def _never_started(why: str | None) -> Dependency:
    """Down where somebody counts on a daemon; where only commands are used, one is not missed."""
    if why is None:
        detail = f"no schedule, sensor or alert acts until one runs: {_START}"
        return Dependency(status="never started", detail=detail)
    return Dependency(status="down", error=f"No Dagster daemon ever ran here, but {why}: {_START}")


def _findings(chosen: list[BoundTable]) -> Iterator[Finding]:
    yield from _strays()
    yield from _settings()
    yield from _migrations(in_use=bool(chosen))
    outages = Outages()
    for bound in chosen:
        looks = (_look_at_table, _look_at_capture, lambda it: outages.ask(it, _look_at_target), _look_at_settings)
        for look in looks:
            try:
                look(bound)
            except SyncError as error:
                yield Finding(where=bound.path, problem=str(error).removeprefix(f"{bound.path}: "))
                break


def _strays() -> Iterable[Finding]:
    from sync_pipelines.strays import SENTENCE, strays

    return [Finding(where=str(path.relative_to(DEFS.parent)), problem=SENTENCE) for path in strays(DEFS)]


def _settings() -> Iterator[Finding]:
    """What only a run or an alert would meet, perhaps in the night."""
    from sync_pipelines.health_settings import wrong_settings

    return (Finding(where="environment", problem=sentence) for sentence in wrong_settings(os.environ))


def _migrations(*, in_use: bool) -> Iterator[Finding]:
    from sync_pipelines import migrations, registry
    from sync_pipelines.resources.environment import NoDatabaseError

    try:
        schema = registry.resources().ledger.sync_schema()
        for database in registry.databases():
            for branch in database.branches:
                try:
                    migrations.check(database.url, branch, database.schema_of(branch, schema))
                except SyncError as error:
                    yield Finding(where=f"database:{database.name}", problem=str(error))
    except NoDatabaseError as error:
        if in_use:
            yield Finding(where="database", problem=str(error))
    except SyncError as error:
        yield Finding(where="database", problem=str(error))


def _look_at_table(bound: BoundTable) -> None:
    """The table, its key and every column that the document names; the nearest right name is offered."""
    bound.source().inspect()


def _look_at_capture(bound: BoundTable) -> None:
    """Triggers that are missing are an error of `pending`; the ledger may not be there yet."""
    bound.source().pending(None)


def _look_at_target(bound: BoundTable) -> None:
    bound.binding().target.count()


def _look_at_settings(bound: BoundTable) -> None:
    """What a run would resolve when it begins, and fail by."""
    with bound.binding().ledger as ledger:
        try:
            ledger.check()
        except SyncError:
            return  # `_migrations` and the database's own line tell it
        bound.component.run_settings(ledger)
        bound.component.prices_now(ledger)


def _warnings(chosen: list[BoundTable]) -> Iterator[Finding]:
    for bound in chosen:
        try:
            found = bound.source().capture_warnings()
        except SyncError:
            continue  # a finding tells it already
        yield from (Finding(where=bound.path, problem=sentence) for sentence in found)
