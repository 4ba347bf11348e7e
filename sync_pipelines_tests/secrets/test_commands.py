"""Every console command, where each credential is a canary: none stands in anything that is printed or stored."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
import typer
from typer.testing import CliRunner

from sync_pipelines import client
from sync_pipelines.cli import app
from sync_pipelines_tests.cli.shop import ARTICLE, Shop
from sync_pipelines_tests.secrets.canaries import DATABASES, NO_SECRETS, TEMPLATES, known_variables

pytestmark = pytest.mark.slow

WORDS = {
    "status": ["", "--live"],
    "sync": ["shop", "shop --full", f"{ARTICLE} --key a", f"{ARTICLE} --dry-run", f"{ARTICLE} --no-wait"],
    "plan": ["shop --rebuild"],
    "reparse": [ARTICLE],  # of which no payload is kept
    "settings list": [""],
    "settings set": ["shop batch_size 7"],
    "settings get": ["shop batch_size"],
    "start": ["shop"],
    "stop": ["shop"],
    "check": ["shop", "shop --deep"],
    "repair": ["shop", f"{ARTICLE} --key a --dry-run"],
    "reconcile": [f"{ARTICLE} --dry-run --batch-size 2"],
    "search": ["shop hello"],
    "logs": ["", f"{ARTICLE} --key a"],
    "stats": [""],
    "health": ["", "--connect"],
    "consume": ["shop"],  # which follows no outbox, so it ends at once
    "trace": ["RUN"],
    "jobs list": ["", "--active"],
    "jobs status": ["RUN"],
    "jobs cancel": ["RUN"],
    "quarantine list": [""],
    "quarantine show": ["shop"],
    "quarantine replay": ["shop"],
    "quarantine drop": ["shop --all"],
    "conflicts list": ["", "shop"],
    "conflicts show": [f"{ARTICLE} a"],
    "conflicts diff": [f"{ARTICLE} a"],
    "conflicts resolve": [f"{ARTICLE} a --take target"],
    "users add": ["ann --takeout . --parent-page 0123456789abcdef0123456789abcdef"],  # of a shop that has no users
    "users list": [""],
    "users test": ["ann"],
    "users set": ["ann --incomplete"],
    "users rotate": ["", "ann"],
    "users remove": ["ann --yes"],
    "alerts test": [""],
    "alerts list": [""],
    "capture install": ["", "--dry-run"],
    "capture remove": ["shop --dry-run"],
    "capture status": [""],
    "capture lag": [""],
    "db upgrade": ["", "--sql"],
    "db current": [""],
    "db check": ["", "--sql"],
    "sandbox up": [""],
    "sandbox status": [""],
    "sandbox env": [""],
    "sandbox load": ["--records 1", "--records 1 --into-my-database"],
    "sandbox analyse": [""],
    "sandbox down": [""],
    "sandbox reset": [""],
}
"""What each command is given, in the order in which they are tried; RUN is the id of a run."""


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, Callable[..., object]]]:
    """Every command of the app with the words that name it."""
    for command in group.registered_commands:
        function = command.callback
        assert function is not None
        yield before + (command.name or function.__name__.strip("_").replace("_", "-")), function
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{before}{inner.name} ")


ALL = dict(commands(app))


def lines() -> Iterator[list[str]]:
    """Every command line, and each again with --json where there is one."""
    for name, choices in WORDS.items():
        for choice in choices:
            yield [*name.split(), *choice.split()]
            if "as_json" in ALL[name].__annotations__:
                yield [*name.split(), *choice.split(), "--json"]


def told(run_id: str) -> Iterator[tuple[str, str]]:
    """What each command line prints on both streams, with the traceback of one that broke."""
    for words in lines():
        result = CliRunner().invoke(app, [run_id if word == "RUN" else word for word in words])
        broke = result.exception is not None and not isinstance(result.exception, SystemExit)
        yield " ".join(words), result.output + (repr(result.exception) if broke else "")


def test_every_variable_has_a_canary_or_is_known_to_hold_no_secret():
    """A new credential in .env.example gets a canary, or this fails."""
    assert known_variables() - NO_SECRETS <= {*DATABASES, *TEMPLATES}
    assert not NO_SECRETS & {*DATABASES, *TEMPLATES}


def test_every_command_is_tried():
    assert set(WORDS) == set(ALL)


def test_no_command_prints_or_stores_a_secret(guarded: Shop, found, capfd, monkeypatch):
    monkeypatch.setenv("SYNC_DEV_PORT", "3999")
    stream = io.StringIO()
    others = logging.StreamHandler(stream)  # whatever a client logs by itself
    logging.getLogger().addHandler(others)
    guarded.put("a", "b")
    run_id = client.trigger(ARTICLE, wait=True)
    said = dict(told(run_id))
    logging.getLogger().removeHandler(others)
    printed = "".join(capfd.readouterr())
    assert found(**said, printed=printed, logged=stream.getvalue()) == []
    assert "a body" in said["search shop hello"]
    assert "0 missing" not in said["check shop"]
    assert client.status(run_id).state == "completed"
