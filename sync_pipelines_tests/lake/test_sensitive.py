"""Sensitive columns on the way to Delta and back: no command, ledger, event, log or alert tells a value or a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

import sync_pipelines.definitions
from sync_pipelines import log
from sync_pipelines.cli import app
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.sensitive import masked
from sync_pipelines.sandbox.demo_proof import _alerts_tick
from sync_pipelines.sandbox.receiver import Receiver
from sync_pipelines_tests.cli.hidden import TOLD, leaks
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.lake.house import House, Lake, back, document
from sync_pipelines_tests.lake.reviews import DDL, held, row, rows

pytestmark = pytest.mark.slow

KEY, NOTE, CODE = "anna@private.example", "the diagnosis of Anna Private", "98765432.123456"
MASK, WORDS = masked(KEY), (KEY, NOTE, CODE[:12])
HIDES = ["id", "note", "code"]


@pytest.fixture
def said() -> list[str]:
    """Everything that was told in this test."""
    return []


@pytest.fixture
def home(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME, where the log is, too."""
    made = fresh_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(made))
    monkeypatch.setenv("SYNC_LOG_FILE", str(made / "sync.log"))
    log.configure()
    return made


@pytest.fixture
def run(home: Path, said: list[str]) -> Callable[..., Any]:
    def command(*words: str, code: int | None = 0) -> Any:
        result = CliRunner().invoke(app, words)
        said.append(result.output)
        assert code is None or result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in words else result.output

    return command


def use(monkeypatch: pytest.MonkeyPatch, table: Any) -> None:
    found = definitions(table), (table,)
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)


@pytest.fixture
def item(house: House, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table on its way to Delta, of which nothing may be told; one row is good."""
    house.execute("CREATE TABLE item (id text PRIMARY KEY, note text, code numeric)")
    table = document(sensitive=HIDES, types={"code": "decimal(6,2)"})
    use(monkeypatch, table)
    house.capture(table)
    house.execute("INSERT INTO item VALUES ('good', 'n', 1)")
    return table


@pytest.fixture
def review(house: House, lake: Lake, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table on its way back, of which nothing may be told; one row is good."""
    house.execute(
        """CREATE TABLE review (id text PRIMARY KEY, note text CHECK (length(note) < 25), code int,
        updated_at timestamptz)"""
    )
    table = back(sensitive=HIDES, conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    use(monkeypatch, table)
    give(lake, "good", note="n")
    return table


def give(lake: Lake, key: str, *, note: str = "n", code: str = "1") -> None:
    given = rows(row(key, note=note)).drop_columns(["stars", "topics", "detail"])
    lake.write(given.append_column("code", [[code]]))


def nothing_leaked(house: House, home: Path, said: list[str]) -> None:
    conflicts = house.execute("SELECT string_agg(reason, ' ') FROM sync.sync_conflicts")[0][0] or ""
    told = [*said, house.execute(TOLD)[0][0] or "", conflicts]
    assert said
    assert not [word for word in WORDS if any(word in text for text in told)]
    assert list(leaks(home, WORDS)) == []


def quarantined(run: Callable[..., Any], place: str) -> str:
    """What is told of the one record in quarantine, which is shown under its mask everywhere."""
    (listed,) = run("quarantine", "list", "--json")["records"]
    (shown,) = run("quarantine", "show", place, "--key", MASK, "--json")["records"]
    run("logs", place, "--key", MASK)
    run("status", code=None)
    assert {listed["key"], shown["key"]} == {MASK}
    return listed["reason"]


def test_what_delta_cannot_hold_is_refused_without_its_value(item: Any, house: House, home: Path, run, said):
    house.execute("INSERT INTO item VALUES (%s, %s, %s)", KEY, NOTE, CODE)
    run("sync", "shop/item", code=None)
    assert "code" in quarantined(run, "shop/item")
    nothing_leaked(house, home, said)


@pytest.mark.parametrize(
    ("given", "reason"), [({"note": NOTE}, "review_note_check"), ({"code": CODE}, "code"), ({"note": "x\0"}, "note")]
)
def test_what_postgresql_refuses_is_told_without_its_value(review: Any, house: House, lake: Lake, home: Path, run, said,
                                                           given: dict[str, str], reason: str):  # fmt: skip
    give(lake, KEY, **given)
    run("sync", "shop/review", code=None)
    assert held(house).keys() == {"good"}
    assert reason in quarantined(run, "shop/review")
    nothing_leaked(house, home, said)


def test_a_rule_of_the_table_is_told_without_what_breaks_it(
    item: Any, house: House, home: Path, run, said, monkeypatch: pytest.MonkeyPatch
):
    """A commit is of up to 100,000 rows; what it fails for may have been read long ago."""
    run("sync", "shop/item")
    stored = DeltaTable(house.resources.delta.settings().table("shop/item"))
    stored.alter.add_constraint({"no_such": f"note <> '{NOTE}'"})
    house.execute("INSERT INTO item VALUES (%s, %s, 1)", KEY, NOTE)
    house.execute("INSERT INTO item SELECT 'x' || n, 'n', 1 FROM generate_series(1, 300) AS n")
    monkeypatch.setenv("SYNC_BATCH_SIZE", "1")
    monkeypatch.setattr("sync_pipelines.engine.veil._ROWS", 100)
    run("sync", "shop/item")
    assert "a rule of the table" in quarantined(run, "shop/item")
    house.execute("INSERT INTO item SELECT %s || n, %s, 1 FROM generate_series(1, 25) AS n", "aa" + KEY, NOTE)
    for words in ((), ("--full",)):
        assert "a rule of the table" in run("sync", "shop/item", *words, code=1)
    nothing_leaked(house, home, said)


def test_differences_in_delta_are_told_by_masks_to_people_and_to_receivers(
    item: Any, house: House, home: Path, run, said, monkeypatch: pytest.MonkeyPatch
):
    house.execute("INSERT INTO item VALUES (%s, %s, 1), ('other', 'n', 1)", KEY, NOTE)
    run("sync", "shop/item")
    stored = DeltaTable(house.resources.delta.settings().table("shop/item"))
    stored.update({"note": f"'{NOTE}, and more'"}, predicate=f"id = '{KEY}'")
    assert samples(run, "shop/item", said, monkeypatch) == {"stale": [MASK]}
    nothing_leaked(house, home, said)


def test_differences_in_postgresql_are_told_by_masks_to_people_and_to_receivers(
    review: Any, house: House, lake: Lake, home: Path, run, said, monkeypatch: pytest.MonkeyPatch
):
    give(lake, KEY, note="n")
    run("sync", "shop/review")
    house.execute("DELETE FROM review WHERE id = %s", KEY)
    assert samples(run, "shop/review", said, monkeypatch) == {"missing": [MASK]}
    nothing_leaked(house, home, said)


def samples(run: Callable[..., Any], place: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a deep check names; an alert is sent meanwhile."""
    with Receiver() as receiver:
        monkeypatch.setenv("SYNC_ALERT_URLS", receiver.url)
        _alerts_tick()
        (found,) = run("check", place, "--deep", "--json", code=1)["tables"].values()
        run("repair", place, "--deep", "--dry-run", code=1)
        _alerts_tick()
    (message,) = receiver.messages
    said.append(json.dumps(message))
    assert MASK in message["message"]
    return found["samples"]


def test_a_conflict_is_told_without_key_and_values(review: Any, house: House, lake: Lake, home: Path, run, said):
    give(lake, KEY, note="n")
    run("sync", "shop/review")
    house.execute("UPDATE review SET code = 7, updated_at = now() WHERE id = %s", KEY)
    lake.table.update({"note": f"'{NOTE[:20]}'"}, predicate=f"id = '{KEY}'")
    run("sync", "shop/review")
    assert run("conflicts", "list", "--json")["conflicts"][0]["key"] == MASK
    assert NOTE[:20] not in run("conflicts", "show", "shop/review", MASK)
    run("conflicts", "resolve", "shop/review", MASK, "--take", "source")
    assert held(house)[KEY][0] == NOTE[:20]
    nothing_leaked(house, home, said)


def test_a_record_that_others_hold_is_named_by_its_mask(review: Any, house: House, lake: Lake, home: Path, run, said):
    give(lake, KEY)
    run("sync", "shop/review")
    house.execute("CREATE TABLE reply (review text REFERENCES review); INSERT INTO reply VALUES (%s)", KEY)
    lake.table.delete(f"id = '{KEY}'")
    run("sync", "shop/review")
    assert MASK in run("quarantine", "list", "shop")
    assert MASK in run("quarantine", "show", "shop")
    nothing_leaked(house, home, said)


def test_a_slip_in_a_sensitive_column_stops_before_anything_is_told_of_it(house: House):
    house.execute("CREATE TABLE item (id text PRIMARY KEY, note text); INSERT INTO item VALUES ('1', 'secret')")
    house.capture(document())
    slipped = document(sensitive=["notes"])
    with pytest.raises(RunError, match=r"sensitive: table 'item' has no column 'notes'\. Did you mean 'note'\?"):
        house.sync(slipped)
    assert not house.opened(slipped).there


def test_a_slip_in_a_sensitive_column_stops_the_way_back_too(house: House):
    house.execute(DDL)
    Lake(house).write(rows(row("1")))
    told = r"sensitive: neither the source nor the target has a column 'notes'\. Did you mean 'note'\?"
    with pytest.raises(RunError, match=told):
        house.sync(back(sensitive=["notes"]))
    assert held(house) == {}
    house.sync(back())
    with pytest.raises(RunError, match=told):
        house.prove(back(sensitive=["notes"]))


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_sensitive_column_of_either_side_alone_is_none(house: House, side: str):
    house.execute(DDL)
    Lake(house).write(rows(row("1")))
    house.execute("ALTER TABLE review " + ("DROP COLUMN note" if side == "source" else "ADD COLUMN email text"))
    house.sync(back(sensitive=["note" if side == "source" else "email"]))
    assert list(held(house)) == ["1"]
