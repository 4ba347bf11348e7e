"""Records that are named by keys: however a key is spelled it is found, and what names nothing is said plainly."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner, Result

import sync_pipelines.definitions
from sync_pipelines import client
from sync_pipelines.cli import app
from sync_pipelines.engine.errors import ConfigurationError, UnknownRecordError
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines_tests.cli.shop import ARTICLE, Shop
from sync_pipelines_tests.dagster.project import article, definitions

ITEM = "shop/item"
STORED = '["1", "Zürich"]'
SPELLINGS = [STORED, '["1","Zürich"]', '[ "01" , "Z\\u00fcrich" ]', '[1, "Zürich"]']


@pytest.fixture
def items(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with a table whose key has two columns; its two rows are synced."""
    shop.execute(
        'CREATE TABLE "Item" (tenant int, place text, body text, "updatedAt" timestamp(3) NOT NULL '
        "DEFAULT (now() AT TIME ZONE 'UTC'), PRIMARY KEY (tenant, place))"
    )
    source = {"connection": "shop", "table": "Item", "key": ["tenant", "place"], "changed_at": "updatedAt"}
    item = article(source=source, target={"collection": "item"}, text=["body"], metadata=[])
    install(shop.url, item.spec)
    found = definitions(article(), item), (article(), item)
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    put(shop, 1, "Zürich")
    put(shop, 2, "Bern")
    client.trigger(ITEM, wait=True)
    return shop


def put(shop: Shop, tenant: int, place: str, body: str = "a body") -> None:
    shop.execute(
        'INSERT INTO "Item" VALUES (%s, %s, %s) ON CONFLICT (tenant, place) DO UPDATE SET body = excluded.body',
        tenant,
        place,
        body,
    )


def invoke(*words: str) -> Result:
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def counts(*words: str) -> dict:
    result = invoke(*words, "--json")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    return run["counts"]


@pytest.mark.slow
def test_a_composite_key_is_found_in_every_spelling_that_means_it(items: Shop):
    for number, key in enumerate(SPELLINGS):
        put(items, 1, "Zürich", body=f"body {number}")
        assert counts("sync", ITEM, "--key", key)["upserted"] == 1, key
    for joined in (STORED, f'{STORED}, ["2","Bern"]', f'[{STORED},["2","Bern"]]'):
        put(items, 1, "Zürich", body=joined)
        assert counts("sync", ITEM, "--keys", joined)["upserted"] == 1, joined
    put(items, 1, "Zürich", body="again")
    run_id = client.trigger(ITEM, keys=[SPELLINGS[1]], wait=True)
    with items.ledger as ledger:
        assert ledger.logs("shop", "item", run_id=run_id, limit=1)[0].counts.upserted == 1
    (plan,) = json.loads(invoke("sync", ITEM, "--dry-run", "--key", SPELLINGS[2], "--json").stdout)["plans"]
    assert plan["read"] == 1


@pytest.mark.slow
def test_repair_quarantine_and_logs_take_the_same_spellings(items: Shop):
    items.bound(ITEM).binding().target.delete([STORED])
    result = invoke("repair", ITEM, "--keys", SPELLINGS[1], "--json")
    assert json.loads(result.stdout)["runs"][0]["repaired"] == 1
    items.execute("""UPDATE "Item" SET "updatedAt" = 'infinity' WHERE tenant = 1""")
    client.trigger(ITEM, wait=True)
    for key in SPELLINGS[:2]:
        assert json.loads(invoke("logs", ITEM, "--key", key, "--json").stdout)["events"]
        assert invoke("quarantine", "show", ITEM, "--key", key).exit_code == 0
        (run,) = json.loads(invoke("quarantine", "replay", ITEM, "--key", key, "--json").stdout)["runs"]
        assert run["keys"] == [STORED]
    assert "1 dropped" in invoke("quarantine", "drop", ITEM, "--key", SPELLINGS[1]).stdout


WRONG = [
    ("1", r"shop/item: .*JSON array of 2 texts.*\(key '1'\).*Write it like"),
    ('["1"]', r"shop/item: .*2 columns \(tenant, place\), and this names 1"),
    ('["x", "Bern"]', "shop/item: no key of this table: .*tenant, place.*invalid input syntax"),
]


def commands(table: str, key: str) -> list[tuple[str, ...]]:
    return [
        ("sync", table, "--key", key),
        ("sync", table, "--key", key, "--no-wait"),
        ("sync", table, "--key", key, "--dry-run"),
        ("repair", table, "--key", key),
        ("repair", table, "--key", key, "--dry-run"),
        ("quarantine", "replay", table, "--key", key),
        ("quarantine", "drop", table, "--key", key),
        ("logs", table, "--key", key),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "sentence"), WRONG)
def test_what_is_no_key_of_the_table_ends_every_command_with_3_and_starts_nothing(items: Shop, key, sentence):
    before = len(client.recent())
    for words in commands(ITEM, key):
        result = invoke(*words)
        assert result.exit_code == 3, words
        assert re.search(sentence, result.stderr), result.stderr
        assert "starting" not in result.stderr
    with pytest.raises(ConfigurationError, match=sentence):
        client.trigger(ITEM, keys=[STORED, key])
    assert len(client.recent()) == before


@pytest.mark.slow
@pytest.mark.parametrize(("table", "key"), [(ITEM, '["3", "Bern"]'), (ARTICLE, "nobody")])
def test_a_record_that_nobody_has_is_told_with_1_and_nothing_starts(items: Shop, table, key):
    before = len(client.recent())
    for words in commands(table, key):
        result = invoke(*words)
        assert result.exit_code == 1, words
        assert f"{table}: no such record in source or target (key {key!r})" in result.stderr, words
        assert "starting" not in result.stderr
    with pytest.raises(UnknownRecordError):
        client.trigger(table, keys=[key])
    assert len(client.recent()) == before


@pytest.mark.slow
def test_a_record_that_only_the_target_has_is_deleted(items: Shop):
    items.execute('DELETE FROM "Item" WHERE tenant = 1')
    assert counts("sync", ITEM, "--key", SPELLINGS[1])["deleted"] == 1
    assert items.stored("item") == {'["2", "Bern"]'}


@pytest.mark.slow
def test_of_a_healthy_record_the_logs_say_that_it_never_failed(items: Shop):
    result = invoke("logs", ITEM, "--key", SPELLINGS[2])
    assert result.exit_code == 0
    assert "No failure of this record is remembered." in result.stderr
    nobody = invoke("logs", "--key", '["9", "9"]')
    assert nobody.exit_code == 1
    assert "shop/article and shop/item: no such record" in nobody.stderr
    held = invoke("quarantine", "replay", ITEM, "--key", STORED)
    assert held.exit_code == 1
    assert "is not in quarantine" in held.stderr
