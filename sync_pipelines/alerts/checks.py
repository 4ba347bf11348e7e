"""Evaluations of asset checks, read from Dagster's storage; any check, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.alerts.incidents import Cause, Seen, Severity
from sync_pipelines.alerts.texts import sentence
from sync_pipelines.check_results import SCOPE
from sync_pipelines.engine.errors import redact
from sync_pipelines.user_checks import USERS

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

PAGE, PAGES = 25, 4
SAMPLES, KEY_LENGTH, NUMBERS = 20, 120, 16
PATIENCE_SECONDS = 120.0
"""A run proves several things; its first result waits so long for the others, to be told with them."""


def new_evaluations(
    instance: dg.DagsterInstance,
    keys: Iterable[dg.AssetCheckKey],
    taken: Mapping[str, tuple[int, ...]],
    *,
    now: datetime,
) -> tuple[list[Seen], dict[str, tuple[int, ...]]]:
    """What was evaluated since, and the ids that are taken now.

    The last id alone is no cursor: a row gets its id when its run is planned and its result when it ends,
    so a long run ends with a lower id than a short one that began later.

    Args:
        taken: `asset:check` → ids that were taken; a check that is not in it shows its newest result alone.
    """
    found = {key: _fresh(instance, key, taken.get(_name(key))) for key in keys}
    waits = _of_runs_under_way(instance, [record for records in found.values() for record in records], now=now)
    seen: list[Seen] = []
    now_taken: dict[str, tuple[int, ...]] = {}
    for key, fresh in found.items():
        before = taken.get(_name(key))
        ended = [record for record in fresh if record.id not in waits]
        now_taken[_name(key)] = tuple(sorted({*(r.id for r in ended), *(before or ())}, reverse=True)[:PAGE])
        new = ended if before is not None else sorted(ended, key=_moment)[-1:]
        seen += [item for record in new for item in observed(key, record)]
    return seen, now_taken


def _name(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}:{key.name}"


def _of_runs_under_way(
    instance: dg.DagsterInstance, records: Sequence[AssetCheckExecutionRecord], *, now: datetime
) -> set[int]:
    """Ids of evaluations whose run evaluates more, so that one message has all of it; none waits for long."""
    import dagster as dg
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    young = [record for record in records if now.timestamp() - _moment(record) < PATIENCE_SECONDS]
    if not young:
        return set()
    chosen = dg.RunsFilter(run_ids=list({record.run_id for record in young}), statuses=NOT_FINISHED_STATUSES)
    under_way = set(instance.get_run_ids(chosen))
    return {record.id for record in young if record.run_id in under_way}


def _fresh(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, taken: tuple[int, ...] | None
) -> list[AssetCheckExecutionRecord]:
    if taken is None:
        return _page(instance, key, None)
    floor = min(taken) if len(taken) >= PAGE else 0
    new: list[AssetCheckExecutionRecord] = []
    cursor = None
    for _ in range(PAGES):
        page = _page(instance, key, cursor)
        fresh = [record for record in page if record.id not in taken and record.id > floor]
        new += fresh
        if len(page) < PAGE or len(fresh) < PAGE:
            break
        cursor = page[-1].id
    return new


def _page(instance: dg.DagsterInstance, key: dg.AssetCheckKey, cursor: int | None) -> list[AssetCheckExecutionRecord]:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

    # without the filter a planned record comes too, which has no evaluation
    ended = {Status.SUCCEEDED, Status.FAILED}
    storage = instance.event_log_storage
    return list(storage.get_asset_check_execution_history(key, limit=PAGE, cursor=cursor, status=ended))


def last_passed(instance: dg.DagsterInstance, key: dg.AssetCheckKey, stands: Callable[[str], bool]) -> datetime | None:
    """When the newest evaluation of a check was made, whoever asked for it; None where it did not pass.

    One that passed over a part of the table says nothing of what the check of all of it could not do.

    Args:
        stands: whether what the run of this id has found stands; one that was made outside of a run does.
    """
    whole = [record for record in _page(instance, key, None) if not _passed(record, of_a_part=True)]
    newest = max(whole, key=_moment, default=None)
    if newest is None or not _passed(newest) or not (newest.run_id == "" or stands(newest.run_id)):
        return None
    return datetime.fromtimestamp(_moment(newest), UTC)


def _passed(record: AssetCheckExecutionRecord, *, of_a_part: bool = False) -> bool:
    evaluation = _evaluation(record)
    return evaluation is not None and evaluation.passed and (SCOPE in evaluation.metadata or not of_a_part)


def _moment(record: AssetCheckExecutionRecord) -> float:
    return record.event.timestamp if record.event else record.create_timestamp


def observed(key: dg.AssetCheckKey, record: AssetCheckExecutionRecord) -> list[Seen]:
    """An evaluation as what the table's incident is made of; of a table with users each user's, by their rows.

    One incident of all of them would tell nobody of a second user while the first one's goes on.
    """
    at = datetime.fromtimestamp(_moment(record), UTC)
    table, name = key.asset_key.to_user_string(), f"check:{key.name}"
    evaluation = _evaluation(record)
    metadata = (evaluation.metadata or {}) if evaluation is not None else {}
    if evaluation is None or (evaluation.passed and USERS not in metadata):
        return [Seen(table=table, name=name, at=at)]
    found = Cause(
        name=name,
        severity=_severity(evaluation),
        since=at,
        summary=sentence(evaluation.description or f"The check {key.name} failed."),
        run_id=record.run_id,
        numbers=dict(_numbers(metadata)),
        samples=tuple(_samples(metadata)),
    )
    if USERS not in metadata:
        return [Seen(table=table, name=name, at=at, cause=found)]
    # what could not be said of single users, or an older version said of all of them, is over
    whole = Seen(table=table, name=name, at=at)
    return [whole, *(_of_user(row.data, found, metadata, whole) for row in metadata[USERS].records)]


def _of_user(row: Mapping[str, Any], found: Cause, metadata: Mapping[str, Any], whole: Seen) -> Seen:
    """A user's row as an observation of that user's part; the numbers, which are sums, stay out of it."""
    user, cause = str(row["user"]), None
    if not row["passed"]:
        changed: dict[str, Any] = {
            "severity": "warn" if row["severity"] == "WARN" else "error",
            "summary": sentence(str(row["found"]) or found.summary),
            "numbers": {},
            "samples": tuple(_samples(metadata, user)),
        }
        cause = found.model_copy(update=changed)
    return Seen(table=f"{whole.table}:{user}", name=whole.name, at=whole.at, cause=cause)


def _evaluation(record: AssetCheckExecutionRecord) -> Any:
    event = record.event.dagster_event if record.event else None
    return event.asset_check_evaluation_data if event else None


def _severity(evaluation: Any) -> Severity:
    return "warn" if evaluation.severity.value == "WARN" else "error"


def _numbers(metadata: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    found = [(name, value.value) for name, value in metadata.items() if isinstance(value.value, int | float)]
    yield from [(name, number) for name, number in found if not isinstance(number, bool)][:NUMBERS]


def _samples(metadata: Mapping[str, Any], user: str | None = None) -> Iterator[tuple[str, str]]:
    """Difference and key of the first rows of every table that has a column `key`; a user's alone, if one is named."""
    rows = [row.data for value in metadata.values() for row in getattr(value, "records", ()) if "key" in row.data]
    rows = [row for row in rows if user is None or row.get("user") == user]
    for row in _fairly(rows)[:SAMPLES]:
        yield str(row.get("difference", "")), redact(str(row["key"]))[:KEY_LENGTH]


def _fairly(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """In turn one of each difference: twenty missing keys must not hide the only stranger."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row.get("difference", "")), []).append(row)
    longest = max((len(group) for group in groups.values()), default=0)
    chosen = [group[number] for number in range(longest) for group in groups.values() if number < len(group)]
    return sorted(chosen[:SAMPLES], key=lambda row: list(groups).index(str(row.get("difference", ""))))
