"""What `sync-pipelines conflicts` shows: records in conflict, their sides field by field, and decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.engine.secrets import HIDDEN
from sync_pipelines.engine.sensitive import mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.conflicts import Base
    from sync_pipelines.engine.ledger.conflict_rows import Conflict
    from sync_pipelines.settling import Case

_VALUES = ("source_fingerprint", "source_data", "target_data", "base_data")


def told(conflict: Conflict) -> dict[str, Any]:
    """A row of the ledger as JSON: without the values, which `show` has."""
    return {**{name: value for name, value in asdict(conflict).items() if name not in _VALUES}, "state": conflict.state}


def document(case: Case, *, history: bool) -> dict[str, Any]:
    """A record, its sides, and what was decided of it before."""
    binding, mask = case.binding, mask_of(case.binding.spec)
    noted, dispute = case.noted, case.dispute
    found: dict[str, Any] = {"sync": binding.place[0], "table": binding.place[1], "key": mask.key(case.key)}
    if noted is not None:
        found |= told(mask.record(noted))
    elif dispute is not None:
        reason = mask.text(dispute.why, case.key) if dispute.decision.conflict else "it is in no conflict now"
        found |= {"reason": reason, "state": "unseen" if dispute.decision.conflict else "none"}
    found |= _by_values(case) if dispute is not None else _by_fingerprints(case)
    if history:
        rows = binding.ledger.conflict_history(*binding.place, key=case.key)
        found["history"] = [told(mask.record(row)) for row in rows]
    return found


def _by_values(case: Case) -> dict[str, Any]:
    """The three states, property by property, and what a merge would make of them."""
    from sync_pipelines.engine.deciding import Disputing
    from sync_pipelines.engine.merging import leaves, merge

    assert case.dispute is not None
    assert isinstance(case.binding.target, Disputing)
    sides = case.dispute.sides
    shown = case.binding.target.shown(case.row, [case.key])[case.key]
    merged = merge(sides.base or {}, sides.source or {}, sides.target or {})
    both = sides.source is not None and sides.target is not None
    told = [shown.base or {}, shown.source or {}, shown.target or {}]
    whole = {name for state in told for name in state}
    states = [leaves(state or {}, whole) for state in (sides.base, sides.source, sides.target, merged.values)]
    fields = [
        _field(name, told, [state.get(name) for state in states[:3]])
        | {"merged": _taken(name, states, merged.clashes) if both else None}
        for name in sorted({name for state in states[:3] for name in state})
    ]
    return {
        "strategy": case.dispute.strategy.value,
        "source_is": _since(sides.source, sides.base),
        "target_is": _since(sides.target, sides.base),
        "source_version": sides.source_version,
        "target_version": sides.target_version,
        "fields": fields,
    }


def _field(name: str, shown: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> dict[str, Any]:
    from sync_pipelines.engine.merging import same

    base, source, target = values
    changed = [side for side, value in (("source", source), ("target", target)) if not same(base, value)]
    told = {side: state.get(name) for side, state in zip(("base", "source", "target"), shown, strict=True)}
    return {"field": name, **told, "differs": not same(source, target), "changed_by": changed}


def _taken(name: str, states: Sequence[Mapping[str, Any]], clashes: Collection[str]) -> str:
    from sync_pipelines.engine.merging import same

    if any(clash == name or clash.startswith(f"{name}.") for clash in clashes):
        return "clash"
    _, source, target, merged = (state.get(name) for state in states)
    return "source" if same(merged, source) else "target" if same(merged, target) else "both"


def _since(state: Mapping[str, Any] | None, base: Mapping[str, Any] | None) -> str:
    from sync_pipelines.engine.merging import same_state

    if state is None:
        return "gone"
    if base is None:
        return "never synced"
    return "as it was synced" if same_state(state, base) else "changed"


def _by_fingerprints(case: Case) -> dict[str, Any]:
    """What both sides hold, and whether each is as it was last synced: of a target that keeps no values of that."""
    from sync_pipelines.engine.conflicts import Judging

    binding, key = case.binding, case.key
    assert isinstance(binding.target, Judging)
    given, held = _row(binding.source.values([key])), _row(binding.target.values([key]))
    base = binding.target.bases([key]).get(key)
    return {
        "source_is": _since_print(given, base),
        "target_is": _since_print(held, base),
        "fields": _fields(case, given, held),
    }


def _row(batches: Any) -> dict[str, Any] | None:
    return next((row for batch in batches for row in batch.to_pylist()), None)


def _since_print(row: dict[str, Any] | None, base: Base | None) -> str:
    from sync_pipelines.engine.model import FINGERPRINT

    if row is None:
        return "gone"
    if base is None:
        return "never synced"
    if not base.comparable:
        return "synced with other columns"
    return "as it was synced" if row[FINGERPRINT] in (base.fingerprint, base.previous) else "changed"


def _fields(case: Case, given: dict[str, Any] | None, held: dict[str, Any] | None) -> list[dict[str, Any]]:
    from sync_pipelines.engine.differences import same_value
    from sync_pipelines.engine.model import SYSTEM_FIELDS

    own = {item.name for item in SYSTEM_FIELDS}
    names = [name for name in dict.fromkeys([*(given or {}), *(held or {})]) if name not in own]
    left, right = given or {}, held or {}
    return [
        {
            "field": name,
            "source": _shown(case, name, left.get(name)),
            "target": _shown(case, name, right.get(name)),
            "differs": not same_value(left.get(name), right.get(name)),
        }
        for name in names
    ]


def _shown(case: Case, name: str, value: Any) -> Any:
    if value is not None and name in case.binding.spec.sensitive:
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


# In the terminal


def show_conflicts(found: Sequence[Conflict]) -> None:
    """A line each."""
    if not found:
        typer.echo("Nothing is in conflict.")
        return
    from rich.text import Text

    decided = any(item.method for item in found)
    more = ("decided", "by") if decided else ()
    table = output.table("table", "key", "since (UTC)", "state", *more, "reason")
    for item in found:
        words = (item.method or "", Text(item.resolved_by or "")) if decided else ()
        place, since = f"{item.sync}/{item.table}", output.moment(item.detected_at)
        table.add_row(place, Text(item.key), since, item.state, *words, Text(item.reason))
    output.console().print(table)


def show_comparison(document: dict[str, Any]) -> None:
    """A record, field by field."""
    from rich.text import Text

    typer.echo(f"{document['sync']}/{document['table']} {document['key']!r}: {document.get('reason', '')}")
    typer.echo(f"  since the last sync: source {document['source_is']}, target {document['target_is']}")
    by_values = any("merged" in item for item in document["fields"])
    sides = ("base", "source", "target") if by_values else ("source", "target")
    table = output.table("field", *sides, "", *(("merge",) if by_values else ()))
    for item in document["fields"]:
        cells = (Text("NULL" if item[side] is None else str(item[side])) for side in sides)
        merged = (item["merged"] or "",) if by_values else ()
        table.add_row(Text(item["field"]), *cells, "differs" if item["differs"] else "", *merged)
    output.console().print(table)


def show_history(rows: Sequence[dict[str, Any]]) -> None:
    """What was decided of a record, the newest first."""
    from rich.text import Text

    decided = [row for row in rows if row["method"]]
    if not decided:
        return
    table = output.table("decided (UTC)", "how", "by", "notes", "state")
    for row in decided:
        words = (Text(row["resolved_by"] or ""), Text(row["resolution_notes"] or ""))
        table.add_row(output.moment(row["decided_at"]), row["method"], *words, row["state"])
    output.console().print(table)


def show_resolved(document: dict[str, Any]) -> None:
    """What became of a decision."""
    place = f"{document['sync']}/{document['table']} {document['key']!r}"
    if document["take"] != "source":
        version = "merged version" if document["take"] == "merge" else "target's version"
        typer.echo(f"{place}: the {version} is accepted until the source's row changes.")
        return
    typer.echo(f"{place}: run {document['run_id']} {document['status']}")
    for name in ("error", "still"):
        if document[name]:
            output.say(f"still in conflict: {document[name]}" if name == "still" else document[name])
