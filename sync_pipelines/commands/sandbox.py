"""`sync-pipelines sandbox …`: real engines and sample data on this machine."""

import json
import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from sync_pipelines.sandbox.environment import Sandbox, SandboxStatus

app = typer.Typer(
    help="PostgreSQL, Chroma and a graph on this machine, with sample data, under one folder "
    "(.sandbox, or what SYNC_SANDBOX_DIR names).",
    no_args_is_help=True,
)

_COLOURS = {"up": "green", "yours": "green", "down": "yellow", "not answering": "red"}


@app.command()
def up() -> None:
    """Start what is not running, and create the database with its sample data at the first start."""
    with _expected_errors(), Console(stderr=True).status("The sandbox comes up …"):
        sandbox = _sandbox()
        sandbox.up()
    _show(sandbox.status())
    typer.echo('\nTo use it in this shell: eval "$(sync-pipelines sandbox env)"')


@app.command()
def down() -> None:
    """Stop the servers; the data stay."""
    with _expected_errors():
        _sandbox().down()
    typer.echo("The sandbox is down; its data stay.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")] = False,
) -> None:
    """Show each server. Exit code 0 when all are up, 1 when one is not."""
    with _expected_errors():
        found = _sandbox().status()
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found)
    raise typer.Exit(0 if found.up else 1)


@app.command()
def env() -> None:
    """Print the variables of the sandbox for a shell: eval "$(sync-pipelines sandbox env)"."""
    with _expected_errors():
        sandbox = _sandbox()
        variables, foreign = sandbox.env(), sandbox.foreign()
    if told := sandbox.left_out():
        typer.echo(told, err=True)
    for name, value in variables.items():
        typer.echo(f"export {name}={_quoted(value)}")
    for name in foreign:
        # blank, not unset: what is unset the console script takes from `.env` again
        typer.echo(f"export {name}=''")
    if not sandbox.status().up:
        typer.echo("The sandbox is not up, or not all of it: sync-pipelines sandbox up", err=True)
    if sandbox.database_url is not None:
        typer.echo("DATABASE_URL is set already and left as it is.", err=True)


@app.command()
def reset() -> None:
    """Stop the servers and remove the sandbox's folder with all its data."""
    with _expected_errors():
        sandbox = _sandbox()
        sandbox.reset()
    typer.echo(f"{sandbox.folder} is gone.")


@app.command()
def load(
    records: Annotated[int, typer.Option(min=1, help="How many knowledge records there are to be.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other texts under the same ids.")] = 0,
    text_bytes: Annotated[int, typer.Option(min=1, help="The size of a record's content, in bytes.")] = 2000,
    into_my_database: Annotated[
        bool, typer.Option(help="Load into the database of your own that DATABASE_URL names.")
    ] = False,
) -> None:
    """Load generated records, and a journey for every twenty of them; what is there stays as it is."""
    from sync_pipelines.sandbox import application

    with _expected_errors(), Console(stderr=True).status("Records are generated …"):
        url = _target_of_load(into_my_database=into_my_database)
        loaded = application.generate(url, records=records, seed=seed, text_bytes=text_bytes)
    typer.echo(f"{loaded:,} rows were new.")


@app.command()
def analyse() -> None:
    """Run the analysis job once: it reads the submissions in the lakehouse and writes voice/ai_analyses beside them.

    The submissions get there by `sync-pipelines sync voice/voice_submissions`, or by the sensor of `make dev`, whose
    other sensor brings the analyses back to PostgreSQL.
    """
    from sync_pipelines.sandbox import analysis
    from sync_pipelines.targets.delta.settings import DeltaSettings

    with _expected_errors():
        done = analysis.run(DeltaSettings(uri=_sandbox().env()["DELTA_URI"]))
    typer.echo(f"{done.analysed:,} submissions were analysed, {done.removed:,} analyses without one removed.")


def _target_of_load(*, into_my_database: bool) -> str:
    from sync_pipelines.sandbox.errors import SandboxError

    sandbox = _sandbox()
    if sandbox.database_url is None:
        return sandbox.env()["DATABASE_URL"]
    if not into_my_database:
        raise SandboxError(
            "DATABASE_URL names a database of your own; to load generated records into it, add --into-my-database."
        )
    return sandbox.database_url


def _sandbox() -> "Sandbox":
    from sync_pipelines.sandbox.errors import SandboxError

    if os.name != "posix":
        raise SandboxError("The sandbox runs on Linux and macOS; elsewhere set DATABASE_URL and CHROMA_URL.")
    # Imported here: every other command of the console script would pay for it.
    from sync_pipelines.sandbox.environment import Sandbox

    console = Console(stderr=True)
    return Sandbox.of_environment(log=lambda line: console.print(line, style="dim", highlight=False))


def _show(found: "SandboxStatus") -> None:
    table = Table("server", "state", Column("address", overflow="fold"), "process", box=None, pad_edge=False)
    for server in found.servers:
        state = f"[{_COLOURS[server.state]}]{server.state}[/]"
        table.add_row(server.name, state, server.address or "", str(server.pid or ""))
    Console().print(f"Sandbox in {found.folder}", table, sep="\n", highlight=False)


def _quoted(value: str) -> str:
    quoted = shlex.quote(value)
    return quoted if quoted.startswith("'") else f"'{quoted}'"


@contextmanager
def _expected_errors() -> Generator[None]:
    from sync_pipelines.sandbox.errors import SandboxError

    try:
        yield
    except SandboxError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
