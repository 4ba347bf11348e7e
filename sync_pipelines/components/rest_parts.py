"""What a table that comes from an API is bound to: its ids, the further names of its calls, and a client."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_pipelines.components.fetching import like, listed, several_like
from sync_pipelines.components.schema import QUOTES

if TYPE_CHECKING:
    from sync_pipelines.components.rest_to_postgres import RestToPostgres
    from sync_pipelines.sources.rest.asked import Asked, Ids
    from sync_pipelines.sources.rest.client import RestClient
    from sync_pipelines.sources.rest.endpoint import FetchSettings


_FIELD = re.compile(r"(?:\[\]|[^.\[\]]+(?:\[\])*)(?:\.[^.\[\]]+(?:\[\])*)*")


def column_of(name: str, column: Any) -> Any:
    """A column as the document has it: a path, or path, type and required.

    Raises:
        ValueError: it is none.
    """
    from sync_pipelines.targets.rowsets.layout import TYPES

    if isinstance(column, bool):
        raise ValueError(f"columns.{name}: {column!r} is no path into the payload; {QUOTES}")
    if not isinstance(column, dict):
        column = _as_text(column)  # Dagster makes a number of a text that looks like one
        if not isinstance(column, str):
            raise ValueError(f"columns.{name}: write a path, or path, type and required")
        return column
    if not {"path", "type", "required"}.issuperset(column):
        raise ValueError(f"columns.{name}: write a path, or path, type and required")
    if isinstance(column.get("path"), bool):
        raise ValueError(f"columns.{name}: {column['path']!r} is no path into the payload; {QUOTES}")
    path, kind, required = _as_text(column.get("path", "")), column.get("type", "text"), column.get("required", False)
    if not isinstance(path, str):
        raise ValueError(f"columns.{name}: {path!r} is no path into the payload, such as price.amount")
    if kind not in tuple(TYPES):  # a list has no hash
        raise ValueError(f"columns.{name}: {kind!r} is none of the types {', '.join(TYPES)}")
    if not isinstance(required, bool):
        raise ValueError(f"columns.{name}: required is true or false, and not {required!r}")
    return {**column, "path": path}


def _as_text(path: Any) -> Any:
    return str(path) if isinstance(path, int) and not isinstance(path, bool) else path


def insist_on_columns(component: RestToPostgres) -> None:
    """Look whether the columns of the one table, and the ranges of theirs, can be what they say.

    Raises:
        ValueError: one cannot.
    """
    from sync_pipelines.targets.rowsets.layout import BOOKKEEPING

    if not component.columns:
        return
    paths = {
        name: column if isinstance(column, str) else column.get("path") for name, column in component.columns.items()
    }
    if pathless := [name for name, path in paths.items() if not path]:
        raise ValueError(f"columns.{pathless[0]}: write its path into the payload")
    if odd := [name for name in (*paths, *component.record) if "%" in name]:
        raise ValueError(f"columns.{odd[0]}: the driver of PostgreSQL takes a % for the place of a value")
    if kept := [name for name in BOOKKEEPING if name in paths]:
        raise ValueError(f"columns.{kept[0]}: the sync keeps a column of that name itself; choose another")
    if len(set(component.record)) != len(component.record):
        raise ValueError("columns: two parts of the key would be one column; name a column for each")
    for name, path in zip(component.record, component.source.key, strict=True):
        if paths.get(name, path) != path:
            raise ValueError(f"columns.{name}: it would hold the key, {path}, too; give {path} a column of its own")


def insist_on_ranges(component: RestToPostgres) -> None:
    """Look whether `plausible` names columns of numbers, as far as the document names its columns.

    Raises:
        ValueError: one is none.
    """
    from sync_pipelines.targets.rowsets.layout import NUMBERS

    types = {
        name: "text" if isinstance(column, str) else column.get("type", "text")
        for name, column in component.columns.items()
    }
    first = component.target.tables[0].columns if component.target.tables else None
    known = types or first or {}
    for name in component.plausible if known else ():
        if name not in known:
            raise ValueError(f"plausible.{name}: the document has the columns {', '.join(known)}")
        if (held := types.get(name, NUMBERS[0])) not in NUMBERS:
            raise ValueError(f"plausible.{name}: its type is {held}, and numbers have a range: {', '.join(NUMBERS)}")


def insist_on_books(component: RestToPostgres) -> None:
    """Look whether the names of the books are told apart by PostgreSQL, which cuts a name after 63 bytes.

    Raises:
        ValueError: they are not.
    """
    from sync_pipelines.targets.rowsets.books import LONGEST_NAME

    if len(component.books_name.encode()) > LONGEST_NAME:
        what = "books" if component.target.books else "table"
        raise ValueError(
            f"target.{what}: {component.books_name!r} is too long for the tables that are named after it "
            f"(…_payloads); write target.books, of up to {LONGEST_NAME} letters"
        )


def insist_on_fields(component: RestToPostgres) -> None:
    """Look whether `sensitive` names columns, where the document does, or else paths into payloads.

    Raises:
        ValueError: one is neither.
    """
    known = list(dict.fromkeys([*component.record, *component.columns]))
    for name in component.sensitive:
        if component.columns and name not in known:
            raise ValueError(f"sensitive: {name}: the document has the columns {', '.join(known)}")
        if not _FIELD.fullmatch(name):
            raise ValueError(f"sensitive: {name!r} is no path into a payload, such as rooms[].room_name")


def texts(
    component: RestToPostgres,
    resources: Any,
    wanted: Mapping[str, str],
    read: Callable[[str], Callable[[str], str]] = like,
) -> dict[str, str]:
    """The values of further names by the settings of now; the document's where nobody has set another."""
    if not wanted:
        return {}
    held = component.held(resources)
    return {name: held.text(name, default, parse=read(default)) for name, default in wanted.items()}


def asked(component: RestToPostgres, resources: Any) -> Asked | None:
    """Which keys are asked for; None where a list says it."""
    from sync_pipelines.sources.rest.asked import Asked

    if component.source.ids is None:
        return None

    def each() -> dict[str, Sequence[str]]:
        found = texts(component, resources, component.source.each, several_like)
        return {name: listed(text) for name, text in found.items()}

    return Asked(ids=_ids(component, resources), each=each)


def _ids(component: RestToPostgres, resources: Any) -> Ids:
    from sync_pipelines.sources.postgres.connection import normalise_url
    from sync_pipelines.sources.rest.asked import FileIds, NamedIds, TableIds

    ids = component.source.ids
    assert ids is not None
    if ids.values is not None:
        return NamedIds(tuple(ids.values))
    if ids.file is not None:
        return FileIds(Path(ids.file), component.sync, component.table_name)
    url = normalise_url(resources.postgres.connection_url(ids.connection))
    return TableIds(
        url=url,
        table=str(ids.table),
        column=str(ids.column),
        schema=ids.schema_name or url.schema or "public",
        pool_max=resources.postgres.pool_max(),
        place={"sync": component.sync, "table": component.table_name},
    )


def connect(component: RestToPostgres, resources: Any, settings: FetchSettings, allowance: int | None) -> RestClient:
    """A client of the API, whose rate is shared with all who use this key."""
    from sync_pipelines.engine.ledger.rates import SharedRate
    from sync_pipelines.resources.rest import key_name, url_name
    from sync_pipelines.sources.rest.client import ClientSettings, RestClient

    source = component.source
    given = ClientSettings(
        base_url=resources.rest.base_url(source.connection, base_url=source.base_url),
        headers=_headers(component, resources),
        rate_limit=settings.rate_limit,
        max_concurrent=settings.max_concurrent,
        retry_attempts=settings.retry_attempts,
        patience=settings.patience.total_seconds(),
        allowance=allowance,
        quiet=bool(component.sensitive),
        sync=component.sync,
        table=component.table_name,
        key_name=key_name(source.connection),
        url_name=url_name(source.connection),
    )
    return RestClient(given, rate=SharedRate(resources.ledger.ledger(), given.api))


def _headers(component: RestToPostgres, resources: Any) -> Mapping[str, str]:
    auth = component.source.auth
    if auth.kind == "none":
        return {}
    return resources.rest.headers(component.source.connection, header=auth.header, scheme=auth.scheme)
