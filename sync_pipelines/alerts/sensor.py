"""The sensor `sync_alerts`: read what happened, decide what is told, send it, remember it."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.alerts import checks, lag, outbox, proven, runs, state
from sync_pipelines.alerts.incidents import RANK, Advanced, Notice, Policy, Seen, advance, newest_only
from sync_pipelines.alerts.state import State
from sync_pipelines.failures import no_secrets
from sync_pipelines.own_runs import Ours, job_names
from sync_pipelines.user_partitions import known_parts

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.components.blocks import AlertsBlock

NAME, EVERY_SECONDS = "sync_alerts", 30
# Together below Dagster's own limit for a sensor's evaluation, which is 60 s.
LAG_SECONDS, SENDING_SECONDS = 10.0, 20.0
_LINES = 10


def build_sensor(components: "Iterable[SyncComponent]", *, every_seconds: int = EVERY_SECONDS) -> dg.SensorDefinition:
    """The sensor over every enabled table of the project."""
    tables = [component for component in components if component.enabled]

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=set().union({"ledger"}, *(table.resource_keys for table in tables)),
        description="Tells of failed checks, failed runs and growing lag: SYNC_ALERT_URLS says whom.",
    )
    @no_secrets()
    def sync_alerts(context: dg.SensorEvaluationContext):
        told = tick(tables, context.resources, context.instance, _project(context))
        for line in told.errors[:_LINES]:
            context.log.warning(line)
        if told.broken is not None:
            raise told.broken
        return dg.SkipReason(told.summary)

    return sync_alerts


@dataclass(frozen=True, kw_only=True)
class Project:
    """What of the instance is ours, by name: another code location may share it.

    Args:
        by_user: those of the assets whose partitions are users.
    """

    assets: tuple[dg.AssetKey, ...]
    checks: tuple[dg.AssetCheckKey, ...]
    jobs: frozenset[str]
    by_user: frozenset[dg.AssetKey] = frozenset()

    @property
    def ours(self) -> Ours:
        return Ours(assets=frozenset(self.assets), checks=frozenset(self.checks), jobs=self.jobs)

    def places(self) -> list[runs.Place]:
        """The assets as runs speak of them."""
        return [
            runs.Place(path=key.to_user_string(), steps="__".join(key.path), by_user=key in self.by_user)
            for key in self.assets
        ]

    def subjects(self) -> set[str]:
        """Everything that can have an incident: a table, a sync, a job."""
        paths = {place.path for place in self.places()}
        return paths | {path.partition("/")[0] for path in paths} | self.jobs


def _project(context: dg.SensorEvaluationContext) -> Project:
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError(f"{NAME} is evaluated without its code location.")
    graph = repository.asset_graph
    return Project(
        assets=tuple(sorted(graph.get_all_asset_keys())),
        checks=tuple(sorted(graph.asset_check_keys, key=lambda key: key.to_user_string())),
        jobs=job_names(repository),
        by_user=frozenset(
            key
            for key in graph.get_all_asset_keys()
            if isinstance(graph.get(key).partitions_def, dg.DynamicPartitionsDefinition)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a tick did."""

    summary: str
    errors: list[str]
    broken: Exception | None = None


def tick(tables: "list[SyncComponent]", resources: Any, instance: dg.DagsterInstance, project: Project) -> Told:
    """One evaluation. What waits is sent even where reading fails, and a failure to read fails the tick."""
    now = datetime.now(UTC)
    known = state.load(instance)
    broken: Exception | None = None
    try:
        seen, lost = look(known, tables, resources, instance, project, now=now)
        state.save(instance, seen)
        known = seen  # only now: what could not be stored would be sent at every tick
    except Exception as error:
        broken, lost = error, []
    known, errors = _send(known, instance, now=now)
    return Told(summary=_summary(known), errors=[*lost, *errors], broken=broken)


def look(
    known: State,
    tables: "list[SyncComponent]",
    resources: Any,
    instance: dg.DagsterInstance,
    project: Project,
    *,
    now: datetime,
) -> tuple[State, list[str]]:
    """Read what happened since the last tick and decide; the new state, and sentences of what is given up."""
    first = known.position is None
    absent = {table.path: why for table in tables if (why := table.not_configured(resources))}
    evaluated, taken = checks.new_evaluations(instance, project.checks, known.checks, now=now)
    ended, position = runs.new_ends(instance, known.position, project.places(), project.ours, now=now)
    parts = [part for table in tables if table.path not in absent for part in known_parts(table, resources)]
    asked = lag.ask(parts, resources, now=now, within=LAG_SECONDS)
    late, unanswered = lag.observed(asked, known.unanswered, now=now)
    whole = {one.path: one.whole_at for one in asked if one.whole_at is not None}
    mended = _proven(known, instance, project, whole, parts)
    found = (*evaluated, *ended, *late, *_vanished(known, taken, now=now), *mended)
    seen = [item for item in found if runs.whole_of(item.table) not in absent]
    decided = advance(
        known.open,
        known.numbers,
        newest_only(seen) if first else seen,
        policies=policies_of(tables),
        now=now,
        unwatched=_unwatched(known, tables, project, absent, parts),
    )
    told = known.changed(checks=taken, position=position, unanswered=unanswered)
    return _queued(told, decided, now=now)


def _queued(known: State, decided: Advanced, *, now: datetime) -> tuple[State, list[str]]:
    kept, lost = outbox.bounded([*known.outbox, *decided.notices], now=now)
    made = known.changed(
        open=decided.open, numbers=decided.numbers, outbox=tuple(kept), given_up=known.given_up + len(lost)
    )
    return made, [f"A message on {notice.table} ({notice.alert_id}) was given up: nobody took it." for notice in lost]


def _proven(
    known: State,
    instance: dg.DagsterInstance,
    project: Project,
    whole: Mapping[str, datetime],
    parts: "Sequence[SyncComponent]",
) -> list[Seen]:
    """What is over because a proof says so; the tables of a sync that are not configured need none."""
    places = project.places()

    def tables_of(subject: str) -> list[str]:
        return [part.path for part in parts if subject in (part.path, part.whole_path, part.sync)]

    def passed(table: str, check: str) -> datetime | None:
        key = dg.AssetCheckKey(dg.AssetKey.from_user_string(runs.whole_of(table)), check)
        return checks.last_passed(instance, key, lambda run_id: runs.spares(instance, run_id, table, places))

    return list(proven.observed(known.open, tables_of, passed, whole))


def _vanished(known: State, taken: dict[str, tuple[int, ...]], *, now: datetime) -> list[Seen]:
    """A check that was renamed or removed will never be good again: its cause is over."""
    names = [(table, name) for table, incident in known.open.items() for name in incident.causes]
    made = [(table, name, f"{runs.whole_of(table)}:{name.partition(':')[2]}") for table, name in names]
    return [Seen(table=t, name=name, at=now) for t, name, key in made if name.startswith("check:") and key not in taken]


def _unwatched(
    known: State,
    tables: "list[SyncComponent]",
    project: Project,
    absent: dict[str, str],
    parts: "Sequence[SyncComponent]" = (),
) -> dict[str, str]:
    """Open incidents of what is no longer here: a removed or disabled table, a sync that is not configured now, a user
    who was removed."""
    here = project.subjects()
    told = {subject: _gone(subject, here, parts) for subject in known.open}
    gone = {subject: why for subject, why in told.items() if why}
    silent = {subject: why for subject in known.open if (why := _silence(_tables_of(subject, tables), absent))}
    return {**gone, **silent}


def _gone(subject: str, here: Collection[str], parts: "Sequence[SyncComponent]") -> str | None:
    whole = runs.whole_of(subject)
    if whole not in here:
        return "it is not part of this project any more."
    # a table that stands in for its parts: the ledger did not say who its users are
    paths = {part.path for part in parts if part.whole_path == whole}
    return "this user was removed." if subject != whole and paths and not paths & {subject, whole} else None


def _silence(own: "list[SyncComponent]", absent: dict[str, str]) -> str | None:
    """Why nobody watches these tables (a table, or all of a sync), if that is so of each of them."""
    if any(table.alerts.enabled and table.path not in absent for table in own):
        return None
    return next((f"{absent[table.path]}." if table.path in absent else "its alerts are off." for table in own), None)


def _tables_of(subject: str, tables: "Iterable[SyncComponent]") -> "list[SyncComponent]":
    """The table of that path, or the tables of a sync; none for a job that is of no sync."""
    whole = runs.whole_of(subject)
    return [table for table in tables if whole in (table.path, table.sync)]


def policies_of(tables: "Collection[SyncComponent]") -> Callable[[str], Policy]:
    """The policy of a subject: that of its document; of a sync (or of a job of no sync) that of all its tables (of all
    tables) together."""
    from sync_pipelines.components.blocks import AlertsBlock

    def policy(subject: str) -> Policy:
        own = _tables_of(subject, tables) or tables
        return _policy([table.alerts for table in own] or [AlertsBlock()])

    return policy


def _policy(blocks: "Sequence[AlertsBlock]") -> Policy:
    """One block as it stands; of several that are on everybody is told whom one of them names, as soon as one says."""
    from sync_pipelines.alerts.delivery import DEFAULT, has_receivers, receivers

    asked = [block for block in blocks if block.enabled] or blocks
    chosen = tuple(dict.fromkeys(channel for block in asked for channel in block.channels))
    lost = [block for block in asked if not has_receivers(block.channels, os.environ)]
    if 0 < len(lost) < len(asked):
        # by itself each of these is told of in the default channel, as long as its own have no receiver
        chosen = tuple(dict.fromkeys((*chosen, DEFAULT)))
    pauses = [pause for block in asked if (pause := block.reminder()) is not None]
    return Policy(
        enabled=any(block.enabled for block in blocks),
        min_severity=min((block.min_severity for block in asked), key=lambda it: RANK[it]),
        channels=chosen,
        remind_after=min(pauses, default=None),
        reachable=bool(receivers(chosen, os.environ)),
    )


def _send(known: State, instance: dg.DagsterInstance, *, now: datetime) -> tuple[State, list[str]]:
    from sync_pipelines.alerts.delivery import receivers, send

    if not known.outbox:
        return known, []
    deadline = time.monotonic() + SENDING_SECONDS

    def saved(left: list[Notice]) -> None:
        state.save(instance, known.changed(outbox=tuple(left)))

    done = outbox.deliver(
        known.outbox,
        lambda notice: receivers(notice.channels, os.environ),
        send,
        now=now,
        in_time=lambda: time.monotonic() < deadline,
        saved=saved,
    )
    after = known.changed(outbox=tuple(done.left))
    state.save(instance, after)
    return after, list(dict.fromkeys(done.errors))


def _summary(known: State) -> str:
    from sync_pipelines.alerts.delivery import VARIABLE, channels

    told = f"{len(known.open)} incidents open, {len(known.outbox)} messages wait"
    return told if channels(os.environ) else f"{VARIABLE} is not set, so nobody is told; {told}"
