"""`sync-pipelines db …`: the sync schema in each database of this environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson
from sync_pipelines.engine.errors import ConfigurationError, MigrationDueError, SyncError

if TYPE_CHECKING:
    from sync_pipelines.registry import Branch, Database

app = typer.Typer(help="Make, upgrade and check the sync schema in each database.", no_args_is_help=True)

_COLOURS = {"ok": "green", "upgraded": "green", "due": "yellow", "error": "red"}

Only = Annotated[str | None, typer.Option("--database", help="Only the database of this name.")]
AsSql = Annotated[bool, typer.Option("--sql", help="Print the script for a DBA and change nothing.")]
Whole = Annotated[
    bool, typer.Option("--whole", help="With --sql, from nothing: the statements of a table that was dropped, too.")
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One branch of the schema in one database: `state` is ok, upgraded, due or error."""

    database: str
    place: str
    branch: str
    found: str | None
    needed: str
    state: str
    message: str = ""


@app.command()
def upgrade(sql: AsSql = False, whole: Whole = False, database: Only = None, as_json: AsJson = False) -> None:
    """Bring each database to the newest revision; one that could not be does not keep the others back."""
    if whole and not sql:
        raise output.wrong_usage("--whole belongs to --sql: what is there is not made again.")
    if sql:
        _print_scripts(_chosen(database), whole=whole, as_json=as_json)
        return
    _report(*_each(_chosen(database), _upgraded), as_json=as_json)


@app.command()
def current(database: Only = None, as_json: AsJson = False) -> None:
    """Show the revision of each database."""
    _report(*_each(_chosen(database), _looked_at), as_json=as_json, due_is_fine=True)


@app.command()
def check(sql: AsSql = False, database: Only = None, as_json: AsJson = False) -> None:
    """Say whether a migration is due; --sql prints what is missing.

    Exit code 1 when one is due.
    """
    if sql:
        _print_scripts(_chosen(database), as_json=as_json)
        return
    _report(*_each(_chosen(database), _looked_at), as_json=as_json)


def _chosen(name: str | None) -> list[Database]:
    from sync_pipelines import registry

    found = registry.databases()
    chosen = [item for item in found if name in (None, item.name)]
    if not chosen:
        names = ", ".join(item.name for item in found)
        raise ConfigurationError(f"There is no database {name!r}.", remedy=f"There are: {names or 'none'}.")
    return chosen


def _schema() -> str:
    from sync_pipelines import registry

    return registry.resources().ledger.sync_schema()


def _branches(databases: list[Database]) -> Iterator[tuple[Database, Branch]]:
    for database in databases:
        for branch in database.branches:
            yield database, branch


def _each(
    databases: list[Database], look: Callable[[Database, Branch, str], Finding]
) -> tuple[list[Finding], list[SyncError]]:
    """Every branch of every database, whatever became of the one before; and what went wrong."""
    schema = _schema()
    found, errors = [], []
    for database, branch in _branches(databases):
        try:
            found.append(look(database, branch, database.schema_of(branch, schema)))
        except SyncError as error:
            errors.append(error)
            found.append(_finding(database, branch, found=None, state="error", message=str(error)))
    return found, errors


def _upgraded(database: Database, branch: Branch, schema: str) -> Finding:
    from sync_pipelines import migrations

    before = migrations.current(database.url, branch, schema)
    migrations.upgrade(database.url, branch=branch, schema=schema)
    after = migrations.current(database.url, branch, schema)
    if before == after:
        return _finding(database, branch, found=after, state="ok")
    return _finding(database, branch, found=after, state="upgraded", message=f"from {before or 'nothing'}")


def _looked_at(database: Database, branch: Branch, schema: str) -> Finding:
    from sync_pipelines import migrations

    found = migrations.current(database.url, branch, schema)
    try:
        migrations.require(found, url=database.url, branch=branch, schema=schema)
    except MigrationDueError as error:
        return _finding(database, branch, found=found, state="due", message=str(error))
    return _finding(database, branch, found=found, state="ok")


def _finding(database: Database, branch: Branch, *, found: str | None, state: str, message: str = "") -> Finding:
    from sync_pipelines import migrations
    from sync_pipelines.engine.database import place

    (needed,) = migrations.heads(branch)
    return Finding(
        database=database.name,
        place=place(database.url),
        branch=branch,
        found=found,
        needed=needed,
        state=state,
        message=message,
    )


def _report(findings: list[Finding], errors: list[SyncError], *, as_json: bool, due_is_fine: bool = False) -> None:
    if as_json:
        output.print_json({"databases": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    if errors:
        raise typer.Exit(output.worst(errors))
    good = {"ok", "upgraded", "due"} if due_is_fine else {"ok", "upgraded"}
    output.leave(good=all(finding.state in good for finding in findings))


def _show(findings: list[Finding]) -> None:
    table = output.table("database", "at", "branch", "revision", "state")
    for finding in findings:
        state = f"[{_COLOURS[finding.state]}]{finding.state}[/]"
        revision = finding.found or ("-" if finding.state == "error" else "none")
        table.add_row(finding.database, finding.place, finding.branch, revision, state)
    output.console().print(table)
    for message in dict.fromkeys(item.message for item in findings if item.state in ("due", "error")):
        if message:
            output.say(message)


def _print_scripts(databases: list[Database], *, as_json: bool, whole: bool = False) -> None:
    scripts: list[dict[str, str]] = []
    errors: list[SyncError] = []
    for database, branch in _branches(databases):
        try:
            scripts.append(_script(database, branch, whole=whole))
        except SyncError as error:
            errors.append(error)
    if as_json:
        output.print_json({"databases": scripts})
    else:
        _show_scripts(scripts)
    for error in errors:
        output.say(str(error))
    if errors:
        raise typer.Exit(output.worst(errors))


def _show_scripts(scripts: list[dict[str, str]]) -> None:
    for item in scripts:
        typer.echo(f"-- {item['database']} ({item['place']}), branch {item['branch']}: {item['from']} → head")
        typer.echo(item["sql"])


def _script(database: Database, branch: Branch, *, whole: bool) -> dict[str, str]:
    """The script from where the database is; from nothing where that is meant, or cannot be asked (by a DBA alone)."""
    from sync_pipelines import migrations
    from sync_pipelines.engine.database import place

    schema = database.schema_of(branch, _schema())
    try:
        start = migrations.current(database.url, branch, schema)
    except SyncError as error:
        output.say(f"{error} The script begins from nothing.")
        start = None
    migrations.refuse_unknown(database.url, branch, schema, start)
    start = None if whole else start
    return {
        "database": database.name,
        "place": place(database.url),
        "branch": branch,
        "from": start or "nothing",
        "sql": migrations.script(branch, schema, start=start),
    }
