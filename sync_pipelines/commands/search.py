"""`sync-pipelines search`: the records nearest in meaning to some words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson, Named

if TYPE_CHECKING:
    from sync_pipelines.targets.search import Hit

EXCERPT = 80
"""Characters of a text that the table shows; `--json` has all of it."""


def search(
    selector: Named,
    words: Annotated[str, typer.Argument(help="What is looked for, in any language of the embedding.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many records.")] = 10,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="JSON", help='A Chroma filter on metadata: {"category": "ocean"}.'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search the synced records by meaning, best first: key, score, text and metadata."""
    from sync_pipelines.api import search as find

    wanted = _filter(where)
    hits = find(words, table=selector, limit=limit, where=wanted, missing=output.say)
    if as_json:
        output.print_json({"hits": [_plain(hit) for hit in hits]})
    else:
        _show(hits)
    if not hits and wanted:
        _tell_unknown_fields(wanted, selector)


def _tell_unknown_fields(where: dict[str, Any], selector: str) -> None:
    """A filter on a field that no record has finds nothing, and is likely to be a slip."""
    from difflib import get_close_matches

    from sync_pipelines.api import unknown_fields

    unknown, known = unknown_fields(where, table=selector)
    for name in sorted(unknown):
        near = get_close_matches(name, known, n=1)
        there = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(known)) or 'none'}."
        output.say(f"No record has a field {name!r}. {there}")


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise output.wrong_usage(f"--where is no JSON: {error}. {_FORM}") from None
    if not isinstance(parsed, dict):
        raise output.wrong_usage(f"--where is no JSON object. {_FORM}")
    return parsed


_FORM = """Write it like '{"category": "ocean"}' or '{"$and": [{"tags": {"$contains": "soil"}}, …]}'."""


def _plain(hit: Hit) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(hit)


def _show(hits: list[Hit]) -> None:
    from rich.table import Column
    from rich.text import Text

    if not hits:
        output.say("Nothing was found.")
        return
    shown = output.table("key", "score", Column("text", ratio=2), Column("metadata", ratio=1), "collection")
    for hit in hits:
        metadata = ", ".join(f"{name}={value}" for name, value in (hit.metadata or {}).items())
        shown.add_row(Text(hit.key), f"{hit.score:.3f}", Text(excerpt(hit.text)), Text(metadata), hit.collection)
    output.console().print(shown)


def excerpt(text: str | None) -> str:
    """The beginning of a text on one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
