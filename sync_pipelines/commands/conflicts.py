"""`sync-pipelines conflicts …`: records that were edited in their target too, and whose version is to stay."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output, selection
from sync_pipelines.commands.output import AsJson, Selector
from sync_pipelines.engine.errors import ConfigurationError, UnknownRecordError
from sync_pipelines.engine.secrets import HIDDEN
from sync_pipelines.engine.sensitive import Mask, mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.conflicts import Base
    from sync_pipelines.engine.ledger.conflicts import Conflict
    from sync_pipelines.registry import BoundTable

app = typer.Typer(
    help="Records that stay in their target as somebody edited them there, although the source says otherwise.",
    no_args_is_help=True,
)

Table = Annotated[str, typer.Argument(metavar="SYNC/TABLE", help="One table.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The record's key; a composite one as a JSON array of texts.")]


class Side(Enum):
    """Whose version of a record is taken."""

    source = "source"
    target = "target"


@app.command("list")
def list_(
    selector: Selector = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many records of a table.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List records whose target's version stays, and why; accepted ones too, until their source row changes."""
    from sync_pipelines import registry

    ledger = registry.ledger()
    ledger.check()
    found = [
        mask_of(table.spec).record(conflict)
        for table in registry.tables(selector)
        for conflict in ledger.list_conflicts(table.spec.sync, table.spec.name, limit=limit)
    ]
    if as_json:
        output.print_json({"conflicts": [_told(conflict) for conflict in found]})
    else:
        _show_conflicts(found)


@app.command()
def show(selector: Table, key: Key, as_json: AsJson = False) -> None:
    """Show what source and target hold of a record, field by field, and which of them changed since the last sync.

    Of the last synced state the ledger keeps a fingerprint, not the values. Sensitive columns are shown as ***.
    """
    table = _one(selector)
    with closing(table.binding()) as binding:
        conflict = _conflict(binding, selector, key)
        document = _told(mask_of(table.spec).record(conflict)) | _compared(binding, conflict.key)
    if as_json:
        output.print_json(document)
    else:
        _show_comparison(document)


@app.command()
def resolve(
    selector: Table,
    key: Key,
    take: Annotated[Side, typer.Option(help="Whose version stays.")],
    as_json: AsJson = False,
) -> None:
    """Take one side's version of a record.

    source: a run of this record writes the source's row over the target's, or deletes it where the source lacks it; an
    edit that comes in between wins again. target: it stays, and is listed as accepted until the source's row changes.
    Exit code 1 when the run failed, or the record is still in conflict after it.
    """
    table = _one(selector)
    with closing(table.binding()) as binding:
        conflict = _conflict(binding, selector, key)
        shown = mask_of(table.spec).record(conflict)
        document = {"sync": shown.sync, "table": shown.table, "key": shown.key, "take": take.value}
        if take is Side.target:
            binding.ledger.accept_conflict(*binding.place, conflict.key)
        else:
            document |= _bring(binding, conflict.key)
    if as_json:
        output.print_json(document)
    else:
        _show_resolved(document)
    output.leave(good=document.get("status", "completed") == "completed" and not document.get("still"))


def _bring(binding: Binding, key: str) -> dict[str, Any]:
    """Write the source's version in a run of its own; how that ended."""
    from sync_pipelines import client

    _judging(binding).give_way([key])
    run_id = client.trigger(binding.place[0], table=binding.place[1], keys=[key], wait=True)
    ended = client.status(run_id)
    still = binding.ledger.list_conflicts(*binding.place, keys=[key])
    reason = mask_of(binding.spec).record(still[0]).reason if still else None
    return {"run_id": run_id, "status": ended.state, "error": ended.error, "still": reason}


def _one(selector: str) -> BoundTable:
    from sync_pipelines.registry import tables

    found = selection.configured(selector)
    if len(tables(selector)) > 1:
        raise ConfigurationError(f"{selector} has several tables.", remedy="Name one: SYNC/TABLE.")
    return found[0]


def _judging(binding: Binding) -> Any:
    """The target, which others may edit.

    Raises:
        ConfigurationError: it is none of those.
    """
    from sync_pipelines.engine.conflicts import Judging

    if not isinstance(binding.target, Judging):
        raise ConfigurationError(
            f"{'/'.join(binding.place)}: this target is the sync's own, so there are no conflicts.",
            remedy="`sync-pipelines check` names what differs, `repair` mends it.",
        )
    return binding.target


def _conflict(binding: Binding, selector: str, key: str) -> Conflict:
    """The open conflict of a record, whose key may be given as it is shown.

    Raises:
        UnknownRecordError: there is none.
    """
    _judging(binding)
    binding.ledger.check()
    mask = mask_of(binding.spec)
    forms = list(dict.fromkeys([key, *selection.forms(selector, key), *_unmasked(binding, mask, key)]))
    found = binding.ledger.list_conflicts(*binding.place, keys=forms)
    if not found:
        raise UnknownRecordError(
            "no such record is in conflict.",
            sync=binding.place[0],
            table=binding.place[1],
            key=mask.key(key),
            remedy=f"`sync-pipelines conflicts list {'/'.join(binding.place)}` lists them.",
        )
    return found[0]


def _unmasked(binding: Binding, mask: Mask, key: str) -> Sequence[str]:
    if not mask.hides_keys:
        return ()
    known = [item.key for item in binding.ledger.list_conflicts(*binding.place, limit=None)]
    return list(mask.real([key], known).values())


def _compared(binding: Binding, key: str) -> dict[str, Any]:
    """What both sides hold of a record: `fields`, and whether each side is as it was last synced."""
    target = _judging(binding)
    given, held = _row(binding.source.values([key])), _row(target.values([key]))
    base = target.bases([key]).get(key)
    return {
        "source_is": _since(given, base),
        "target_is": _since(held, base),
        "fields": _fields(binding, given, held),
    }


def _row(batches: Any) -> dict[str, Any] | None:
    return next((row for batch in batches for row in batch.to_pylist()), None)


def _since(row: dict[str, Any] | None, base: Base | None) -> str:
    from sync_pipelines.engine.model import FINGERPRINT

    if row is None:
        return "gone"
    if base is None:
        return "never synced"
    if not base.comparable:
        return "synced with other columns"
    return "as it was synced" if row[FINGERPRINT] in (base.fingerprint, base.previous) else "changed"


def _fields(binding: Binding, given: dict[str, Any] | None, held: dict[str, Any] | None) -> list[dict[str, Any]]:
    from sync_pipelines.engine.differences import same_value
    from sync_pipelines.engine.model import SYSTEM_FIELDS

    own = {item.name for item in SYSTEM_FIELDS}
    names = [name for name in dict.fromkeys([*(given or {}), *(held or {})]) if name not in own]
    left, right = given or {}, held or {}
    return [
        {
            "field": name,
            "source": _shown(binding, name, left.get(name)),
            "target": _shown(binding, name, right.get(name)),
            "differs": not same_value(left.get(name), right.get(name)),
        }
        for name in names
    ]


def _shown(binding: Binding, name: str, value: Any) -> Any:
    if value is not None and name in binding.spec.sensitive:
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _told(conflict: Conflict) -> dict[str, Any]:
    return {name: value for name, value in asdict(conflict).items() if name != "source_fingerprint"}


def _show_conflicts(found: Sequence[Conflict]) -> None:
    if not found:
        typer.echo("Nothing is in conflict.")
        return
    from rich.text import Text

    table = output.table("table", "key", "since (UTC)", "state", "reason")
    for item in found:
        state = "accepted" if item.accepted_at else "open"
        path = f"{item.sync}/{item.table}"
        table.add_row(path, Text(item.key), output.moment(item.detected_at), state, Text(item.reason))
    output.console().print(table)


def _show_comparison(document: dict[str, Any]) -> None:
    from rich.text import Text

    typer.echo(f"{document['sync']}/{document['table']} {document['key']!r}: {document['reason']}")
    typer.echo(f"  since the last sync: source {document['source_is']}, target {document['target_is']}")
    table = output.table("field", "source", "target", "")
    for item in document["fields"]:
        cells = (Text("NULL" if item[side] is None else str(item[side])) for side in ("source", "target"))
        table.add_row(item["field"], *cells, "differs" if item["differs"] else "")
    output.console().print(table)


def _show_resolved(document: dict[str, Any]) -> None:
    place = f"{document['sync']}/{document['table']} {document['key']!r}"
    if document["take"] == Side.target.value:
        typer.echo(f"{place}: the target's version is accepted until the source's row changes.")
        return
    typer.echo(f"{place}: run {document['run_id']} {document['status']}")
    for name in ("error", "still"):
        if document[name]:
            output.say(f"still in conflict: {document[name]}" if name == "still" else document[name])
