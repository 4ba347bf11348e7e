"""`sync-pipelines users …`: who syncs their notes, from where to where, and with which tokens.

A token is read from a file, the environment or a prompt that shows nothing; a command line is seen by everybody who
lists processes, and stays in the shell's history.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson
from sync_pipelines.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sync_pipelines.sources.keep.user import Account, Export, Place, User
    from sync_pipelines.users import Users

app = typer.Typer(help="Users of syncs that read and write with each user's own accounts.", no_args_is_help=True)

NOTION_TOKEN, MASTER_TOKEN = "NOTION_TOKEN", "KEEP_MASTER_TOKEN"
_PROMPTS = {NOTION_TOKEN: "Token of the Notion connection", MASTER_TOKEN: "Master token of the Google account"}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name; a partition of the sync.")]
Sync = Annotated[str | None, typer.Option("--sync", help="The sync; by default the only one with users.")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help=f"Where the Notion token stands; else {NOTION_TOKEN}, else a prompt."),
]
MasterFile = Annotated[
    Path | None,
    typer.Option(
        "--master-token-file", help=f"Where the account's master token stands; else {MASTER_TOKEN}, else a prompt."
    ),
]
Takeout = Annotated[
    list[str] | None,
    typer.Option("--takeout", help="A folder or zip file of an export, or a pattern; may be repeated."),
]
More = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH]...", help="Further parts of the export: a shell makes several of --takeout *.zip."),
]
AccountOption = Annotated[str | None, typer.Option("--account", help="The e-mail address of a live account.")]
Database = Annotated[str | None, typer.Option("--database", help="Id of, or link to, a database in Notion.")]
Parent = Annotated[
    str | None, typer.Option("--parent-page", help="Id of, or link to, a page in which a database is made.")
]
Complete = Annotated[
    bool | None,
    typer.Option(
        "--complete/--incomplete", help="All parts of the export are there: notes that it lacks were deleted."
    ),
]


@app.command()
def add(
    name: Name,
    more: More = None,
    takeout: Takeout = None,
    account: AccountOption = None,
    complete: Complete = None,
    database: Database = None,
    parent_page: Parent = None,
    token_file: TokenFile = None,
    master_token_file: MasterFile = None,
    sync: Sync = None,
) -> None:
    """Add a user, from an export or an account to a database in Notion."""
    from sync_pipelines.sources.keep.user import Account, Secrets, User

    if (source := _source(takeout, more, account, complete)) is None:
        raise output.wrong_usage("Give --takeout PATH, or --account EMAIL.")
    if (target := _target(database, parent_page)) is None:
        raise output.wrong_usage("Give --database ID, or --parent-page ID.")
    with _users(sync) as users:
        users.require_keys()  # before somebody types a token for nothing
        secrets = Secrets(
            notion_token=_token(NOTION_TOKEN, token_file),
            master_token=_token(MASTER_TOKEN, master_token_file) if isinstance(source, Account) else None,
        )
        users.add(User(sync=users.sync, name=name, source=source, target=target), secrets)
        typer.echo(f"{users.sync}: user {name} is added. Try them: sync-pipelines users test {name}")


@app.command("list")
def list_(sync: Sync = None, as_json: AsJson = False) -> None:
    """List users; never their secrets."""
    with _users(sync) as users:
        found = users.all()
    if as_json:
        output.print_json({"users": [_plain(user) for user in found]})
        return
    shown = output.table("user", "from", "to", "added (UTC)", "changed (UTC)")
    for user in found:
        moments = output.moment(user.created_at), output.moment(user.updated_at)
        shown.add_row(user.name, str(user.source), str(user.target), *moments)
    output.console().print(shown if found else "No user.")


@app.command("test")
def probe(name: Name, sync: Sync = None, as_json: AsJson = False) -> None:
    """Ask Keep and Notion whether they know a user. Exit code 3 where a token or path is wrong, 4 where one does
    not answer, else 1."""
    from sync_pipelines import registry
    from sync_pipelines.sources.keep.user import KeepSettings

    notes = registry.resources().notes
    keep = KeepSettings(
        api_url=notes.keep_api(), auth_url=notes.keep_auth(), media_url=notes.keep_media(), deadline=30.0
    )
    with _users(sync) as users:
        answers = users.probe(name, keep=keep, notion_url=notes.notion_url())
    if as_json:
        told = [{"system": a.system, "good": a.good, "answer": a.told or str(a.error)} for a in answers]
        output.print_json({"user": name, "answers": told})
    else:
        for answer in answers:
            typer.echo(f"{answer.system}: {answer.told or answer.error}")
    raise typer.Exit(output.worst(answer.error for answer in answers if answer.error is not None))


@app.command("set")
def set_(
    name: Name,
    more: More = None,
    takeout: Takeout = None,
    account: AccountOption = None,
    complete: Complete = None,
    database: Database = None,
    parent_page: Parent = None,
    master_token_file: MasterFile = None,
    sync: Sync = None,
) -> None:
    """Change where a user's notes come from, or go to. An account whose master token is not known is asked for it."""
    from sync_pipelines.sources.keep.user import Account
    from sync_pipelines.users import with_complete

    source, target = _source(takeout, more, account, complete), _target(database, parent_page)
    if source is None and target is None and complete is None:
        raise output.wrong_usage("Give what is to be changed.")
    if master_token_file is not None and not isinstance(source, Account):
        raise output.wrong_usage("--master-token-file is for --account; a new token alone is taken by `users rotate`.")
    with _users(sync) as users:
        user = users.get(name)
        if source is None and complete is not None:
            user = with_complete(user, complete)
        user = replace(user, source=source or user.source, target=target or user.target)
        users.check_change(user)  # before somebody types a token for nothing
        unknown = master_token_file or users.lacks_master_token(user)
        users.change(user, master_token=_token(MASTER_TOKEN, master_token_file) if unknown else None)
        typer.echo(f"{users.sync}: user {name}: {user.source} to {user.target}.")


@app.command()
def rotate(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A user who has new tokens.")] = None,
    token_file: TokenFile = None,
    master_token_file: MasterFile = None,
    sync: Sync = None,
) -> None:
    """Take new tokens of a user; without a name, seal all users' secrets with the first of SYNC_ENCRYPTION_KEYS."""
    if name is None:
        if token_file or master_token_file:
            raise output.wrong_usage("Name the user whose tokens these are.")
        _reseal()
        return
    with _users(sync) as users:
        given = _new_tokens(users.get(name), token_file, master_token_file)
        if not any(given.values()):
            raise output.wrong_usage("No new token was given.")
        users.rotate(name, notion_token=given.get(NOTION_TOKEN), master_token=given.get(MASTER_TOKEN))
        typer.echo(f"{users.sync}: user {name} has new tokens. Try them: sync-pipelines users test {name}")


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    sync: Sync = None,
) -> None:
    """Forget a user and their secrets. Their pages in Notion stay as they are."""
    with _users(sync) as users:
        users.get(name)
        if not yes:
            typer.confirm(f"Remove user {name} of {users.sync}, with all secrets?", abort=True)
        users.remove(name)
        typer.echo(f"{users.sync}: user {name} is removed; their pages in Notion stay.")


def _reseal() -> None:
    from sync_pipelines import registry
    from sync_pipelines.users import reseal

    found = registry.resources()
    with found.ledger.ledger() as ledger:
        ledger.check()
        typer.echo(f"The secrets of {reseal(ledger, found.notes.vault())} users are sealed with the first key.")


@contextmanager
def _users(sync: str | None) -> Generator[Users]:
    from sync_pipelines.users import sync_with_users, users_of

    users = users_of(sync_with_users(sync))
    try:
        yield users
    finally:
        users.ledger.dispose()


def _source(
    takeout: list[str] | None, more: list[str] | None, account: str | None, complete: bool | None
) -> Account | Export | None:
    """What the options say of it; None where they say nothing."""
    from sync_pipelines.sources.keep.user import Account, Export, absolute

    if more and not takeout:
        raise output.wrong_usage(f"What is {' '.join(more)}? Paths of an export follow --takeout.")
    if takeout and account:
        raise output.wrong_usage("Give --takeout or --account, not both.")
    if account:
        if complete is not None:
            raise output.wrong_usage("--complete is for exports; an account is always complete.")
        return Account(email=account)
    return Export(paths=absolute([*takeout, *(more or ())]), complete=bool(complete)) if takeout else None


def _target(database: str | None, parent_page: str | None) -> Place | None:
    """What the options say of it; None where they say nothing."""
    from sync_pipelines.sources.keep.user import Place, notion_id

    if database and parent_page:
        raise output.wrong_usage("Give --database or --parent-page, not both.")
    if database:
        return Place(database=notion_id(database))
    return Place(parent_page=notion_id(parent_page)) if parent_page else None


def _token(variable: str, file: Path | None) -> str:
    """A token that must be there: of the file, else of the environment, else typed."""
    found = _given(variable, file) or typer.prompt(_PROMPTS[variable], hide_input=True).strip()
    if not found:
        raise ConfigurationError("A token is empty.", remedy="Give it in a file, by the environment, or type it.")
    return found


def _new_tokens(user: User, token_file: Path | None, master_file: Path | None) -> dict[str, str | None]:
    """What stands in the files that are named; else in the environment; else what is typed.

    A file for one token leaves the other as it is: the environment may hold another user's.
    """
    from sync_pipelines.sources.keep.user import Account

    files = {NOTION_TOKEN: token_file}
    if isinstance(user.source, Account) or master_file is not None:
        files[MASTER_TOKEN] = master_file
    named = {variable: file for variable, file in files.items() if file is not None}
    given = {variable: _given(variable, file) for variable, file in (named or files).items()}
    if any(given.values()):
        return given
    prompts = {variable: f"{_PROMPTS[variable]} (nothing: it stays)" for variable in files}
    return {
        variable: typer.prompt(text, hide_input=True, default="", show_default=False).strip()
        for variable, text in prompts.items()
    }


def _given(variable: str, file: Path | None) -> str | None:
    """A token that stands in a file, or in the environment.

    Raises:
        ConfigurationError: the file cannot be read, is empty, or holds more than a token.
    """
    if file is None:
        return os.environ.get(variable, "").strip() or None
    try:
        found = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{str(file)!r} cannot be read: {why}.") from None
    if not found:
        raise ConfigurationError(f"{str(file)!r} is empty.", remedy="Put the token into it.")
    if len(found.split()) > 1:
        raise ConfigurationError(f"{str(file)!r} holds more than a token.", remedy="Put the token into it, alone.")
    return found


def _plain(user: User) -> dict[str, Any]:
    return {
        "sync": user.sync,
        "user": user.name,
        **user.config(),
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }
