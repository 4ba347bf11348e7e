"""`sync-pipelines settings …`: values of `sync_settings`, which a running deployment obeys without a restart."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson
from sync_pipelines.engine.errors import ConfigurationError

app = typer.Typer(help="List, get and set what sync_settings holds.", no_args_is_help=True)

Sync = Annotated[str, typer.Argument(metavar="SYNC", help="A sync.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The setting's name, such as sync_interval.")]


@app.command("list")
def list_settings(
    sync: Annotated[str | None, typer.Argument(metavar="SYNC", help="A sync; all by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the settings that are stored; what is not stored comes from variables and YAML."""
    from sync_pipelines import registry

    if sync is not None:
        registry.tables(sync)
    with registry.ledger() as ledger:
        ledger.check()
        found = ledger.stored_settings(f"{sync}." if sync else "")
    if as_json:
        output.print_json({"settings": [_plain(item) for item in found]})
        return
    shown = output.table("setting", "value", "updated (UTC)", "description")
    for item in found:
        shown.add_row(item.key, item.value, output.moment(item.updated_at), item.description or "")
    output.console().print(shown)


@app.command("get")
def get(sync: Sync, name: Name, as_json: AsJson = False) -> None:
    """Print a stored setting. Exit code 1 where it is not stored."""
    from sync_pipelines import registry

    _meaning(sync, name)
    with registry.ledger() as ledger:
        ledger.check()
        found = ledger.setting(f"{sync}.{name}")
    if as_json:
        output.print_json({"setting_key": f"{sync}.{name}", "setting_value": found})
    elif found is not None:
        typer.echo(found)
    else:
        output.say(f"{sync}.{name} is not stored.")
    output.leave(good=found is not None)


@app.command("set", context_settings={"ignore_unknown_options": True})  # a number below 0 is a value
def set_setting(
    sync: Sync,
    name: Name,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="Its value, such as 24h.")] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Remove it: variables and YAML hold again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store a setting, after a look whether it can be one; the next run and the next tick obey it."""
    if (value is None) != unset:
        raise output.wrong_usage("Give a value, or --unset.")
    store(sync, name, value)
    if as_json:
        output.print_json({"setting_key": f"{sync}.{name}", "setting_value": value})
    else:
        typer.echo(f"{sync}.{name} = {value}" if value is not None else f"{sync}.{name} is not stored any more.")


def store(sync: str, name: str, value: str | None) -> None:
    """Store a value, or remove it.

    Raises:
        ConfigurationError: no such sync or setting, or no such value.
    """
    from sync_pipelines import registry

    meaning, parse = _meaning(sync, name)
    if value is not None:
        try:
            parse(value)
        except ValueError as error:
            raise ConfigurationError(f"{sync}.{name}: {value!r}: {error}.", remedy="Nothing was stored.") from None
    with registry.ledger() as ledger:
        ledger.check()
        ledger.set_setting(f"{sync}.{name}", value, description=meaning)


def settings_of(sync: str) -> dict[str, tuple[str, Any]]:
    """What can be stored for a sync: by name what it means, and how its text is read."""
    from sync_pipelines import registry

    known: dict[str, tuple[str, Any]] = {}
    for bound in registry.tables(sync):
        known |= bound.component.known_settings()
    return known


def _meaning(sync: str, name: str) -> tuple[str, Any]:
    """What a setting means, and how its text is read."""
    known = settings_of(sync)
    if name in known:
        return known[name]
    raise ConfigurationError(f"{sync} has no setting {name!r}.", remedy=f"There are: {', '.join(sorted(known))}.")


def _plain(item: Any) -> dict[str, Any]:
    return {
        "setting_key": item.key,
        "setting_value": item.value,
        "description": item.description,
        "updated_at": item.updated_at.isoformat(),
    }
