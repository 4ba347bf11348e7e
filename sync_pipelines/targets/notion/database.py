"""The user's database: made, or looked at whether it can hold notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.notion import there
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.errors import DoubtfulError, GoneError, RefusedError, RestrictedError
from sync_pipelines.targets.notion.records import Database, Records


def ready(notion: Notion, records: Records) -> tuple[Database, list[str]]:
    """The database, with all properties that notes need, and those that it lacked until now.

    Raises:
        RunError: it is gone, another user's, or an existing one lacks properties.
    """
    found = records.database()
    if found is None or not _is_meant(notion, found):
        known = found
        found = _existing(notion) or _made(notion, records)
        _require_own(notion, records, found)
        if known is not None:
            found = replace(found, blocks=known.blocks)  # max_blocks is of all that is made for a user
            if known.source != found.source:
                records.forget_pages()
        records.keep_database(found)
    _require_own(notion, records, found)
    return found, _fit(notion, records, found)


def require_there(notion: Notion, known: Database | None) -> str:
    """Ask whether the database is there, or can be made; nothing is written.

    Args:
        known: what is on record of it.

    Returns:
        The id of the page or database that was found.

    Raises:
        RunError: it, or the page below which it is to be made, is in the trash, deleted, or not shared; or it has not
            the properties that a run needs.
    """
    found = known if known is not None and _is_meant(notion, known) else _existing(notion)
    if found is not None:
        _require_mendable(notion, found, _given(notion, found))
        return found.database or found.source
    parent = notion.settings.parent_page
    assert parent is not None
    there.parent_page(notion, parent)
    return parent


def _require_own(notion: Notion, records: Records, found: Database) -> None:
    """Refuse a database that another user's notes are kept in: each would mark the other's pages as deleted."""
    if others := records.others_of(found.source):
        raise RunError(
            f"The Notion database {found.database} is that of {others[0]}: each would mark the other's pages as "
            "deleted.",
            remedy="Name another database for one of them, or another page "
            f"(`sync-pipelines users set {notion.settings.user} --parent-page …`).",
            **notion.where,
        )


def _is_meant(notion: Notion, found: Database) -> bool:
    """Whether the settings still speak of the database that is on record."""
    settings = notion.settings
    named = settings.data_source or settings.database
    return found.is_meant(database=named, parent_page=settings.parent_page)


def _existing(notion: Notion) -> Database | None:
    """The database that the settings name."""
    settings = notion.settings
    if settings.data_source:
        return _of_source(there.data_source(notion, settings.data_source))
    if (named := settings.database) is None:
        return None
    try:
        found = notion.ask("look at the database", lambda client: client.databases.retrieve(named))
    except (GoneError, RestrictedError):
        # of a database that has several data sources one is named by its own id
        return _of_source(there.data_source(notion, named))
    sources = found.get("data_sources") or []
    if len(sources) != 1:
        told = ", ".join(f"{source['id']} ({source.get('name') or 'untitled'})" for source in sources)
        raise RunError(
            f"The Notion database {settings.database} has {len(sources)} data sources: {told or 'none'}.",
            remedy="Name the one that is to hold the notes: "
            f"`sync-pipelines users set {settings.user} --database ID`, with its id.",
            **notion.where,
        )
    return Database(source=sources[0]["id"], database=found["id"])


def _of_source(source: Mapping[str, Any]) -> Database:
    return Database(source=source["id"], database=(source.get("parent") or {}).get("database_id") or "")


def _made(notion: Notion, records: Records) -> Database:
    """The database below the parent page: the one that a try before has made, or a new one."""
    parent = notion.settings.parent_page
    assert parent is not None
    for _ in range(3):
        if (found := _child(notion, records, parent)) is not None:
            return found
        try:
            return _database(_created(notion, parent), parent)
        except DoubtfulError:
            continue
    raise RunError("Notion does not answer whether the database was made.", remedy="Start again.", **notion.where)


def _created(notion: Notion, parent: str) -> Mapping[str, Any]:
    settings = notion.settings
    title = [{"type": "text", "text": {"content": settings.title}}]
    schema = {"properties": settings.columns.schema()}
    notion.before_write()
    try:
        return notion.ask(
            "make the database",
            lambda client: client.databases.create(
                parent={"type": "page_id", "page_id": parent}, title=title, initial_data_source=schema
            ),
            once=True,
        )
    except (GoneError, RefusedError) as error:
        remedy = "Share the page with the connection, or name another one."
        raise RunError(f"The database cannot be made below the page: {error.message}", remedy=remedy) from error


def _child(notion: Notion, records: Records, parent: str) -> Database | None:
    """A database of ours that stands below the page, of our title, and is no other user's."""
    try:
        blocks = list(notion.children(parent))
    except GoneError as error:
        raise RunError(
            f"The page below which the database is to be made is not there: {error.message}",
            remedy="Share it with the connection, or name another one.",
            **notion.where,
        ) from error
    for block in blocks:
        title = (block.get("child_database") or {}).get("title")
        if title == notion.settings.title and (block.get("created_by") or {}).get("id") == notion.us:
            found = notion.ask("look at the database", lambda client, name=block["id"]: client.databases.retrieve(name))
            if not found.get("in_trash") and found.get("data_sources"):
                made = _database(found, parent)
                if not records.others_of(made.source):
                    return made
    return None


def _database(found: Mapping[str, Any], parent: str) -> Database:
    return Database(source=found["data_sources"][0]["id"], database=found["id"], made=True, parent=parent)


def _given(notion: Notion, found: Database) -> Mapping[str, Any]:
    """The properties that the database has, by name.

    Raises:
        RunError: the database is away.
    """
    return there.data_source(notion, found.source)["properties"]


def _fit(notion: Notion, records: Records, found: Database) -> list[str]:
    """See to it that the properties are there; those that were not, or were others.

    Raises:
        RunError: they are not, and the database is not the sync's own; or one is of another type.
    """
    given, columns = _given(notion, found), notion.settings.columns
    missing = columns.missing(given)
    if missing:
        _require_mendable(notion, found, given)
        given = _added(notion, found, missing)
    ids = columns.ids(given)
    replaced = [columns.name(item) for item, name in ids.items() if found.properties.get(item, name) != name]
    fresh = list(dict.fromkeys([*missing, *replaced]))
    if fresh:
        # what a page lost with its property was no edit of that page: it is filled in again
        records.emptied(columns.empty(fresh))
    if ids != found.properties:
        records.keep_database(replace(found, properties=ids))
    return fresh


def _added(notion: Notion, found: Database, missing: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add these properties; all that there are then."""
    notion.before_write()
    return notion.ask(
        "add properties to the database",
        lambda client: client.data_sources.update(found.source, properties=dict(missing)),
    )["properties"]


def _require_mendable(notion: Notion, found: Database, given: Mapping[str, Any]) -> None:
    """Insist on that a run can add what is missing.

    Args:
        given: the properties that there are, by name.

    Raises:
        RunError: the database is not the sync's own, or its title has another name; or a property is of another type.
    """
    columns = notion.settings.columns
    missing = columns.missing(given)
    title = columns.name("title")
    renamed = missing.pop(title, None) is not None
    if missing and not found.made:
        raise _lacking(notion, missing, columns.title_remedy(given) if renamed else "")
    if renamed:
        known = "was renamed" if found.made else f"is not called {title!r}"
        raise RunError(f"The title of the Notion database {known}.", remedy=columns.title_remedy(given), **notion.where)


def _lacking(notion: Notion, missing: Mapping[str, Any], also: str) -> RunError:
    wanted = ", ".join(f"{name!r} ({next(iter(kind))})" for name, kind in missing.items())
    remedy = "Add them in Notion, or name those that stand for them under `properties` of the document."
    return RunError(
        f"The Notion database lacks properties that notes need: {wanted}.",
        remedy=f"{remedy} {also}".strip(),
        **notion.where,
    )
