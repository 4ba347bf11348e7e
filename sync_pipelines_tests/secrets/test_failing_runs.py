"""Runs that fail, each in its way, where each credential is a canary: the reason is told, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from sync_pipelines.cli import app
from sync_pipelines_tests.cli.shop import ARTICLE, Shop, environment, run
from sync_pipelines_tests.secrets.canaries import canary
from sync_pipelines_tests.secrets.leaky import HOW, KEY
from sync_pipelines_tests.spare import spare

pytestmark = pytest.mark.slow

OPEN = "from sync_pipelines_tests.secrets.leaky import open_leaky; open_leaky()"

BUG = """
from sync_pipelines.engine.run import Run
def broken(self, changes):
    import os
    raise ValueError("nobody expects " + os.environ["LEAKY_PROVIDER"]) from KeyError(os.environ["DATABASE_URL"])
Run._confirm = broken
"""


def synced(*words: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """`sync-pipelines sync` in a process of its own."""
    arguments = words or ("sync", ARTICLE)
    return run(*arguments, before=f"{OPEN}\n{before}", env=environment(**variables))


def told(*results: subprocess.CompletedProcess[str], **variables: str) -> dict[str, str]:
    """What these runs have printed, and what an operator is told who asks after them."""
    asked = (["status"], ["jobs", "list", "--json"], ["logs", "--json"], ["health", "--connect", "--json"])
    answers = {" ".join(words): CliRunner().invoke(app, words, env=variables) for words in asked}
    texts = {words: f"{answer.output} {answer.exception!r}" for words, answer in answers.items()}
    printed = {f"{n} {name}": getattr(one, name) for n, one in enumerate(results) for name in ("stdout", "stderr")}
    return {**texts, **printed}


@pytest.mark.parametrize("variable", ["SHOP_DATABASE_URL", *spare("SYNC_DATABASE_URL")])
def test_a_wrong_password(guarded: Shop, found, address, variable):
    guarded.put("a")
    wrong = {variable: address(variable, password=f"{canary(variable)} and more")}
    result = synced(**wrong)
    assert "password authentication failed" in result.stderr
    assert found(**told(result, **wrong)) == []


@pytest.mark.exhaustive
def test_an_unreachable_database(guarded: Shop, found, address):
    away = {"SHOP_DATABASE_URL": address("SHOP_DATABASE_URL").replace(guarded.url.split(":")[-1].split("/")[0], "9")}
    result = synced(**away)
    assert "refused" in result.stderr
    assert found(**told(result, **away)) == []


def test_a_url_that_nobody_can_read(guarded: Shop, found):
    """libpq's and SQLAlchemy's complaints quote what they cannot read."""
    wrong = {"SHOP_DATABASE_URL": f"postgresql://app:{canary('SHOP_DATABASE_URL')}@db:port/app"}
    result = synced(**wrong)
    assert result.returncode == 3
    assert found(**told(result, **wrong)) == []


@pytest.mark.exhaustive
def test_single_variables_in_the_place_of_a_url(guarded: Shop, found):
    parts = {"DATABASE_URL": "", "SHOP_DATABASE_URL": "", "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "9"}
    assert found(**told(synced(**parts), **parts)) == []


@contextmanager
def refusing() -> Iterator[str]:
    """A server in Chroma's place that refuses every token, and repeats it; its host and port."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "accept")}
            body = json.dumps({"error": "AuthError", "message": f"who is {sent}?"}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_chroma_that_refuses_the_token_and_repeats_it(guarded: Shop, found):
    guarded.put("a")
    with refusing() as place:
        variables = {
            "CHROMA_URL": f"http://reader:{canary('CHROMA_URL').replace(' ', '%20').replace('/', '%2F')}@{place}"
        }
        result = synced(**variables)
        said = told(result, **variables)
    assert "CHROMA_TOKEN" in result.stderr
    assert found(**said) == []


@pytest.mark.parametrize("how", ["provided", *spare("received", "json", "bare", "long")])
def test_a_provider_that_refuses_the_key_and_repeats_it(guarded: Shop, found, how):
    guarded.put("a")
    result = synced(**{HOW: how})
    assert "embedding with leaky failed" in result.stderr
    assert result.returncode == 1
    assert found(**told(result)) == []


def test_a_poison_record_that_holds_a_secret(guarded: Shop, found):
    guarded.put("a")
    guarded.put("poison", body=f"POISON {os.environ['OPENAI_API_KEY']} {canary('DATABASE_URL')}")
    results = [
        synced(),
        *(synced(*words) for words in (["quarantine", "list"], ["quarantine", "show", "shop", "--json"])),
    ]
    assert "Received API Key" in results[2].stdout
    assert canary(KEY) not in results[2].stdout
    assert found(**told(*results)) == []


def test_a_fault_that_nobody_expects(guarded: Shop, found):
    guarded.put("a")
    result = synced(before=BUG)
    assert "postgresql://canary_database_url:***@" in result.stderr  # the innermost error is told
    assert found(**told(result)) == []


def test_dagsters_storage_in_postgresql(guarded: Shop, found, address):
    """Its rows are looked at with those of the ledger."""
    guarded.put("a")
    storage = {"DAGSTER_POSTGRES_URL": address("DAGSTER_POSTGRES_URL")}
    results = [synced(**storage), synced(**storage, **{HOW: "bare"}), synced("jobs", "list", **storage)]
    assert guarded.execute("SELECT count(*) FROM runs")[0][0] == 2
    wrong = {"DAGSTER_POSTGRES_URL": address("DAGSTER_POSTGRES_URL", password="another " + canary(KEY))}
    assert found(**told(*results, synced(**wrong), synced("health", **wrong))) == []
