"""The console script `sync-pipelines`.

Exit codes, of every command:

| code | meaning |
|---|---|
| 0 | good |
| 1 | unhealthy, different, or a run that failed or was cancelled; anything of ours that went wrong |
| 2 | wrong usage of the command line |
| 3 | a setting, a name or an installation step is missing or wrong (a variable, a sync that does not exist or \
is not configured, migrations or triggers that are due) |
| 4 | a system cannot be reached now |
| 130 | interrupted by Ctrl-C |

An expected error is one sentence on standard error, without a traceback. Standard output is the answer's;
with `--json` it holds one document and nothing else. Starting must stay quick: what is imported here, and by
the modules of `commands` when they are loaded, is paid for by every `--help`.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from sync_pipelines import __version__
from sync_pipelines.commands import (
    alerts,
    capture,
    conflicts,
    db,
    events,
    health,
    history,
    jobs,
    proofs,
    quarantine,
    runs,
    sandbox,
    search,
    settings,
    status,
    switches,
    users,
)
from sync_pipelines.commands.output import EXIT_CODES, ExitCode, code_of, say
from sync_pipelines.engine.disguise import disguised
from sync_pipelines.engine.errors import SyncError, redact


class Commands(TyperGroup):
    """The root of all commands: what they raise on purpose becomes a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SyncError as error:
            say(str(error))
            raise typer.Exit(code_of(error)) from None
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except Exception as error:  # a fault: its traceback is printed, without what clients of others tell in it
            shown = disguised(error, redact)
            if shown is error or type(error).__module__.startswith("typer."):  # what its user typed
                raise
            raise shown from (shown.__cause__ or shown.__context__)


app = typer.Typer(
    cls=Commands,
    name="sync-pipelines",
    help="Keep derived stores equal to their sources, and prove it. SYNC is a sync's name (knowledge), "
    "SYNC/TABLE one of its tables (knowledge/knowledge_reference).",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    status.status,
    runs.sync,
    runs.plan,
    runs.reparse,
    proofs.check,
    proofs.repair,
    search.search,
    history.logs,
    history.stats,
    health.health,
    switches.start,
    switches.stop,
    events.consume,
    events.trace,
):
    app.command()(command)
app.command("reconcile", short_help="The same as repair.")(proofs.repair)
for name, group in (
    ("jobs", jobs.app),
    ("quarantine", quarantine.app),
    ("conflicts", conflicts.app),
    ("alerts", alerts.app),
    ("settings", settings.app),
    ("users", users.app),
    ("capture", capture.app),
    ("db", db.app),
    ("sandbox", sandbox.app),
):
    app.add_typer(group, name=name)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    pass


def main() -> None:
    """The entry of the console script: `.env`, logging, then the command."""
    from sync_pipelines import env_file, log, silence

    silence.open_the_closed()
    try:
        env_file.load()
        log.configure()
        log.hush_clients()
    except SyncError as error:
        say(str(error))
        sys.exit(code_of(error))
    with silence.told_when_full():
        app()


if __name__ == "__main__":
    main()
