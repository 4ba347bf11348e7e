"""What `status` says of the tables is asked here: of the ledger, the source, and (live) of both sides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import SyncError, redact
from sync_pipelines.engine.ledger.proofs import TOUCHED
from sync_pipelines.outages import Outages
from sync_pipelines.status import Facts, Report, Thresholds, report
from sync_pipelines.unfollowed import unfollowed

if TYPE_CHECKING:
    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.ledger.ledger import Ledger, ProofRecord
    from sync_pipelines.engine.run import Binding
    from sync_pipelines.registry import BoundTable

_SUCCESSES = 50
"""Completed runs that are looked through for the newest sync: runs over single records are not one."""

_log = logging.getLogger(__name__)


def status_report(
    selector: str | None = None, *, live: bool = False, asking: Callable[[str], object] = lambda _: None
) -> Report:
    """How the tables are now; one that cannot be asked is reported as such, and the others all the same.

    Args:
        selector: `SYNC` or `SYNC/TABLE`; all of them if left out.
        live: prove each now, instead of taking the last proof from the ledger.
        asking: is told of each table before it is asked.

    Raises:
        ConfigurationError: nothing has that name.
    """
    from sync_pipelines.registry import tables

    now, ledgers, outages = datetime.now(UTC), Ledgers(), Outages()
    found = []
    for bound in tables(selector):
        asking(bound.path)
        found.append(facts_of(bound, live=live, now=now, ledgers=ledgers, outages=outages))
    return report(found, now=datetime.now(UTC))


def live_report() -> dict[str, Any]:
    """What `sync-pipelines status --live --json` prints."""
    return status_report(live=True).as_dict()


class Ledgers:
    """Asks each ledger once whether it answers: one that does not is tried for 20 s, which is once enough."""

    def __init__(self) -> None:
        self._failed: dict[str, SyncError] = {}

    def check(self, binding: Binding) -> None:
        if error := self._failed.get(binding.lock_url):
            raise error
        try:
            binding.ledger.check()
        except SyncError as error:
            self._failed[binding.lock_url] = error
            raise


def facts_of(
    bound: BoundTable,
    *,
    live: bool,
    now: datetime,
    ledgers: Ledgers | None = None,
    outages: Outages | None = None,
) -> Facts:
    """What there is to know of one table; `ledgers` and `outages` are shared by the tables of one report."""
    component, waits = bound.component, outages or Outages()
    facts = Facts(
        path=component.whole_path,
        user=component.user,
        thresholds=thresholds(component),
        **_schedule(component, now),
    )
    if reason := bound.not_configured():
        return replace(facts, not_configured=reason)
    problems: list[str] = []
    with _noting(problems):
        binding = bound.binding()
        with binding.ledger:
            (ledgers or Ledgers()).check(binding)
            for ask in (partial(_proof_now, waits) if live else _nothing, _of_ledger, _of_source, _of_kind):
                with _noting(problems):
                    facts = _with(facts, ask(bound, binding))
    return replace(facts, problem=" ".join(problems) or None)


def thresholds(component: SyncComponent) -> Thresholds:
    """The limits that the table's document states."""
    from sync_pipelines.engine.durations import seconds

    names = ("proof_within", "lag_warn", "lag_error")
    return Thresholds(**{name: timedelta(seconds=seconds(getattr(component.checks, name))) for name in names})


@contextmanager
def _noting(problems: list[str]) -> Generator[None]:
    try:
        yield
    except SyncError as error:
        sentence = str(error)
    except Exception as error:  # whatever one table's systems do, the others are still reported
        _log.debug("a table could not be asked", exc_info=True)
        sentence = redact(f"{type(error).__name__}: {error}")
    else:
        return
    if sentence not in problems:
        problems.append(sentence)


def _nothing(_: BoundTable, __: Binding) -> dict[str, Any]:
    return {}


def _proof_now(outages: Outages, bound: BoundTable, binding: Binding) -> dict[str, Any]:
    outages.ask(bound, lambda table: table.prove())
    return {}


def _of_ledger(bound: BoundTable, binding: Binding) -> dict[str, Any]:
    ledger, place = binding.ledger, binding.place
    quarantined, excluded = ledger.left_out(*place)
    failures = ledger.unanswered_failures(*place)
    return {
        **_proofs(ledger, place),
        "last_success": last_success(ledger, place),
        "failures": failures,
        "last_error": _last_error(ledger, place) if failures else None,
        "running": _running(binding),
        "quarantined": quarantined,
        "excluded": excluded,
        "in_review": ledger.review_count(*place),
    }


def _proofs(ledger: Ledger, place: tuple[str, str]) -> dict[str, ProofRecord | None]:
    newest = ledger.last_proof(*place)
    return {"proof": newest, "content": _content(ledger, place, newest)}


def _content(ledger: Ledger, place: tuple[str, str], newest: ProofRecord | None) -> ProofRecord | None:
    """The proof whose differences hold now; None where it is the newest one of all.

    Equal counts say nothing of what an earlier look at the content found, and what the last run touched and is
    not there is missing, whatever an older proof of the whole table says.
    """
    deep, quick = ledger.last_proof(*place, "deep"), ledger.last_proof(*place, "quick")
    touched = ledger.last_proof(*place, "quick", scope=TOUCHED)
    whole = max((found for found in (deep, quick) if found), key=lambda it: it.id, default=None)
    if touched is not None and not touched.equal and (whole is None or touched.id > whole.id):
        return touched
    return None if newest is None or newest.kind != "count" else whole


def last_success(ledger: Ledger, place: tuple[str, str]) -> datetime | None:
    from sync_pipelines.engine.ledger.ledger import PARTIAL_MODES

    completed = ledger.logs(*place, status="completed", limit=_SUCCESSES)
    newest = next((run.completed_at for run in completed if run.mode not in PARTIAL_MODES), None)
    state = None if newest else ledger.state(*place)
    return newest or (state.last_sync_timestamp if state else None)


def _last_error(ledger: Ledger, place: tuple[str, str]) -> str | None:
    failed = ledger.logs(*place, status="failed", limit=1)
    return failed[0].error if failed else None


def _running(binding: Binding) -> bool:
    from sync_pipelines.engine.locks import alive_runs

    under_way = [run.run_id for run in binding.ledger.open_runs(*binding.place)]
    return bool(alive_runs(binding.lock_url, under_way))


def _of_source(bound: BoundTable, binding: Binding) -> dict[str, Any]:
    if reason := binding.source.resting():
        return {"warnings": (f"its changes are not counted now: {reason}",)}
    pending = binding.source.pending(binding.ledger.watermark(*binding.place))
    more = unfollowed(bound.path) if binding.outbox is not None else ()
    return {"pending": pending, "warnings": (*binding.source.capture_warnings(), *more)}


def _of_kind(bound: BoundTable, binding: Binding) -> dict[str, Any]:
    return bound.component.facts(bound.resources, binding)


def _with(facts: Facts, more: Mapping[str, Any]) -> Facts:
    """The facts and more of them; no warning takes another one's place."""
    warnings = dict.fromkeys((*facts.warnings, *more.get("warnings", ())))
    return replace(facts, **{**more, "warnings": tuple(warnings)})


def _schedule(component: SyncComponent, now: datetime) -> dict[str, Any]:
    """`interval` of the incremental schedule (of the full one where there is none), and the next run of any."""
    from dagster._utils.schedules import cron_string_iterator

    from sync_pipelines.automation import timezone

    zone = timezone()
    crons = [cron for cron in (component.schedules.incremental, component.schedules.full) if cron]
    ticks = [list(islice(cron_string_iterator(now.timestamp(), cron, zone), 2)) for cron in crons]
    if not ticks:
        return {}
    first, second = next(pairwise(ticks[0]))
    return {"interval": second - first, "next_run": min(pair[0] for pair in ticks).astimezone(UTC)}
