"""`sync-pipelines conflicts …`: records that were edited in their target too, and whose version is to stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import conflict_views as views
from sync_pipelines.commands import output, progress, selection
from sync_pipelines.commands.output import AsJson, Selector
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.sensitive import Mask, mask_of

if TYPE_CHECKING:
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.registry import BoundTable
    from sync_pipelines.settling import Case

app = typer.Typer(
    help="Records that were edited in their target, too: which, what both sides hold, and what was decided.",
    no_args_is_help=True,
)

Table = Annotated[str, typer.Argument(metavar="SYNC/TABLE", help="One table.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The record's key; a composite one as a JSON array of texts.")]


class Side(Enum):
    """Whose version of a record is taken."""

    source = "source"
    target = "target"
    merge = "merge"


@app.command("list")
def list_(
    selector: Selector = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many records of a table.")] = 100,
    history: Annotated[bool, typer.Option("--history", help="Those that were decided, too; the newest first.")] = False,
    as_json: AsJson = False,
) -> None:
    """List records whose target's version stays, and why; accepted ones too, until their source row changes."""
    from sync_pipelines import registry

    ledger = registry.ledger()
    ledger.check()
    listed = ledger.conflict_history if history else ledger.list_conflicts
    tables = registry.tables(selector)
    found = [
        mask_of(table.spec).record(conflict)
        for table in tables
        for conflict in listed(table.spec.sync, table.spec.name, limit=limit)
    ]
    total = sum(ledger.conflict_count(table.spec.sync, table.spec.name) for table in tables)
    if as_json:
        output.print_json({"conflicts": [views.told(conflict) for conflict in found], "open": total})
        return
    views.show_conflicts(found)
    if (shown := sum(conflict.resolved_at is None for conflict in found)) < total:
        typer.echo(f"{shown} of {total} that are open; --limit shows more of each table.")


@app.command()
def show(selector: Table, key: Key, as_json: AsJson = False) -> None:
    """Show what both sides hold of a record, field by field, and what was last synced, where that is kept.

    And what was decided of it before. Sensitive columns are shown as ***.
    """
    table = _one(selector)
    with closing(table.binding()) as binding:
        document = views.document(_case(binding, selector, key), history=True)
    if as_json:
        output.print_json(document)
    else:
        views.show_comparison(document)
        views.show_history(document["history"])


@app.command()
def diff(selector: Table, key: Key, as_json: AsJson = False) -> None:
    """Show the fields of a record that differ: what each side has made of the last synced value, and their merge."""
    table = _one(selector)
    with closing(table.binding()) as binding:
        document = views.document(_case(binding, selector, key), history=False)
    document["fields"] = [item for item in document["fields"] if item["differs"] or item.get("changed_by")]
    if as_json:
        output.print_json(document)
    else:
        views.show_comparison(document)


@app.command()
def resolve(
    selector: Table,
    key: Key,
    take: Annotated[Side, typer.Option(help="Whose version stays; merge: of each property the one that changed it.")],
    by: Annotated[str | None, typer.Option(help="Who decides; the system's user by default.")] = None,
    notes: Annotated[str | None, typer.Option(help="Why; kept with the decision.")] = None,
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", metavar="NAME=SIDE", help="Of a merge: this property is source's, or target's."),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=JSON", help="Of a merge: this property's value.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take one side's version of a record, or put the two together.

    source: a run of this record writes the source's row over the target's, or deletes it where the source lacks it; an
    edit that comes in between wins again. target, merge: it stays, and is listed as accepted until the source's row
    changes. Exit code 1 when the run failed, or the record is still in conflict after it.
    """
    from sync_pipelines import settling
    from sync_pipelines.engine.conflicts import Strategy

    _require_once(properties, values)
    method = {Side.source: Strategy.SOURCE_WINS, Side.target: Strategy.TARGET_WINS, Side.merge: Strategy.MERGE}[take]
    table, ended = _one(selector), dict[str, Any]()
    with closing(table.binding()) as binding:
        case = _case(binding, selector, key)
        given = {**settling.chosen(case, _pairs(properties)), **_read(_pairs(values))} if properties or values else None
        done = settling.resolve(
            case, method, by=by, notes=notes, values=given, bring=lambda *_: ended.update(_bring(binding, case.key))
        )
        mask = mask_of(binding.spec)
        document: dict[str, Any] = {"sync": binding.place[0], "table": binding.place[1], "key": mask.key(case.key)}
        document |= {"take": take.value, "resolved_by": done.resolved_by, "notes": done.resolution_notes}
        if take is Side.source:
            document |= ended | {"still": done.still and mask.text(done.still, case.key)}
    if as_json:
        output.print_json(document)
    else:
        views.show_resolved(document)
    output.leave(good=document.get("status", "completed") == "completed" and not document.get("still"))


def _bring(binding: Binding, key: str) -> dict[str, Any]:
    """Write the source's version in a run of its own; how that ended."""
    from sync_pipelines import client

    sync, table = binding.place
    with progress.shown(binding.spec.path) as show:
        run_id = client.trigger(sync, table=table, keys=[key], wait=True, on_progress=show)
    ended = client.status(run_id)
    return {"run_id": run_id, "status": ended.state, "error": ended.error}


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    found = dict(item.partition("=")[::2] for item in given or ())
    if wrong := [item for item in given or () if "=" not in item]:
        raise output.wrong_usage(f"{wrong[0]}: write NAME=….")
    return found


def _require_once(*options: Sequence[str] | None) -> None:
    """Refuse two answers for one property: the last one would win in silence."""
    names = [item.partition("=")[0] for given in options for item in given or ()]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise output.wrong_usage(f"{doubled[0]} is named twice: give --property or --set, once.")


def _read(given: dict[str, str]) -> dict[str, Any]:
    try:
        return {name: json.loads(text) for name, text in given.items()}
    except ValueError:
        raise output.wrong_usage("--set takes values of JSON, a text in quotes: --set title='\"Sets\"'.") from None


def _one(selector: str) -> BoundTable:
    from sync_pipelines.registry import tables

    found = selection.configured(selector)
    if len(tables(selector)) > 1:
        raise ConfigurationError(f"{selector} has several tables.", remedy="Name one: SYNC/TABLE.")
    return found[0]


def _case(binding: Binding, selector: str, key: str) -> Case:
    """A record in conflict, whose key may be given as it is shown.

    Raises:
        UnknownRecordError: it is in none, and never was.
    """
    from sync_pipelines import settling

    settling.judging(binding)
    binding.ledger.check()
    mask = mask_of(binding.spec)
    forms = list(dict.fromkeys([key, *selection.forms(selector, key), *_unmasked(binding, mask, key)]))
    found = binding.ledger.list_conflicts(*binding.place, keys=forms)
    looked: list[Case] = []
    for one in [item.key for item in found] or [form for form in forms if not (mask.hides_keys and form == key)]:
        case = settling.look(binding, one)
        if case.in_conflict or case.noted is not None or binding.ledger.conflict_history(*binding.place, key=one):
            return case
        looked.append(case)
    raise settling.no_conflict(binding, mask.key(key), looked)


def _unmasked(binding: Binding, mask: Mask, key: str) -> Sequence[str]:
    if not mask.hides_keys:
        return ()
    known = [item.key for item in binding.ledger.list_conflicts(*binding.place, limit=None)]
    return list(mask.real([key], known).values())
