"""`sync-pipelines alerts`: who would be told, and what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_pipelines.commands import output
from sync_pipelines.commands.output import AsJson

if TYPE_CHECKING:
    from sync_pipelines.alerts.incidents import Incident
    from sync_pipelines.alerts.outbox import Receiver
    from sync_pipelines.alerts.state import State

app = typer.Typer(help="Failed checks, failed runs and growing lag: who is told, and what is open.")


@app.command("test")
def send_test(
    channel: Annotated[
        str | None, typer.Option("--channel", help="A channel's name, such as default; every one if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send one test message to each receiver. Exit code 1 when one does not take it."""
    from sync_pipelines.alerts import delivery

    chosen = _receivers(channel)
    notice = _notice()
    errors = {one.mark: delivery.send(one, notice) for one in chosen}
    if as_json:
        output.print_json(_tested(notice.alert_id, chosen, errors))
    for one in chosen:
        if error := errors[one.mark]:
            output.say(error)
        elif not as_json:
            output.console().print(f"{delivery.described(one)} took the message.", markup=False)
    output.leave(good=not any(errors.values()))


def _receivers(channel: str | None) -> list[Receiver]:
    import os

    from sync_pipelines.alerts import delivery
    from sync_pipelines.engine.errors import ConfigurationError

    names = [channel.lower()] if channel else delivery.channels(os.environ)
    found = [one for name in names for one in delivery.of_channel(name, os.environ)]
    if not found:
        variable = delivery.variable(channel.lower() if channel else delivery.DEFAULT)
        raise ConfigurationError(
            f"{variable} is not set, so there is nobody to tell.",
            remedy="Set it to a URL of apprise (https://github.com/caronc/apprise/wiki), or to several.",
        )
    return found


def _notice() -> Any:
    from datetime import UTC, datetime
    from uuid import uuid4

    from sync_pipelines.alerts.incidents import Notice

    now, mark = datetime.now(UTC), uuid4().hex[:16]
    return Notice(
        alert_id=mark, incident_id=mark, kind="test", table="test/test", severity="warn", created=now, started=now
    )


def _tested(alert_id: str, chosen: list[Receiver], errors: dict[str, str | None]) -> dict[str, Any]:
    from sync_pipelines.alerts.delivery import described

    results = [
        {
            "channel": one.channel,
            "receiver": described(one),
            "taken": errors[one.mark] is None,
            "error": errors[one.mark],
        }
        for one in chosen
    ]
    return {"alert_id": alert_id, "receivers": results}


@app.command("list")
def list_open(as_json: AsJson = False) -> None:
    """Show the incidents that are open now, and the messages that wait for their receiver."""
    from sync_pipelines.alerts import state
    from sync_pipelines.launch import dagster_instance

    with dagster_instance() as instance:
        found = state.load(instance)
    if as_json:
        output.print_json(_listed(found))
    else:
        _show(found)


def _listed(found: State) -> dict[str, Any]:
    return {
        "incidents": [_incident(one) for one in found.open.values()],
        "waiting": [notice.model_dump(mode="json", exclude={"causes", "delivered"}) for notice in found.outbox],
        "given_up": found.given_up,
    }


def _incident(one: Incident) -> dict[str, Any]:
    from sync_pipelines.alerts.message import shown_keys

    plain = one.model_dump(mode="json")
    for cause, stored in zip(plain["causes"].values(), one.causes.values(), strict=True):
        shown = shown_keys(one.table, stored.samples)
        cause["samples"] = [{"difference": kind, "key": key} for kind, key in shown]
    return {**plain, "severity": one.severity, "causes": list(plain["causes"].values())}


def _show(found: State) -> None:
    from rich.text import Text

    shown = output.table("table", "severity", "since (UTC)", "told", "cause", "what")
    for one in found.open.values():
        for cause in one.causes.values():
            told = output.moment(one.told_at) if one.told else "not yet"
            row = (one.table, cause.severity, output.moment(cause.since), told, cause.name, cause.summary)
            shown.add_row(*(Text(part) for part in row))
    console = output.console()
    console.print(shown if found.open else "No incident is open.")
    if found.outbox:
        console.print(f"{len(found.outbox)} messages wait for a receiver.")
