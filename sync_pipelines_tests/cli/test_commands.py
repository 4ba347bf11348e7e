"""What each command says of a shop whose state is known, for people and as JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from sync_pipelines import client
from sync_pipelines.cli import app
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import Rejection
from sync_pipelines_tests.cli.shop import ARTICLE, AUTHOR, Shop
from sync_pipelines_tests.dagster.project import article, definitions


def invoke(*words: str) -> Result:
    """Run a command in this process; an error that nobody expects is raised."""
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(*words: str, code: int = 0) -> dict:
    """The JSON that a command prints, after it ended with this code."""
    result = invoke(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def synced(shop: Shop) -> Shop:
    """Two articles, one author, all synced and proven."""
    shop.put("a", "b")
    shop.put("z", table="Author")
    client.trigger("shop", wait=True)
    return shop


def test_status_of_an_equal_shop_is_good(settled: Shop):
    document = answer("status")
    assert document["healthy"]
    asset = document["assets"][ARTICLE]
    assert (asset["source_count"], asset["target_count"]) == (2, 2)
    assert (asset["missing"], asset["stale"], asset["extra"]) == (0, 0, 0)
    assert (asset["healthy"], asset["lag_seconds"], asset["pending"]) == (True, 0.0, 0)
    assert asset["last_success"].endswith("+00:00")
    assert (asset["interval"], asset["running"]) == ("6h", False)
    assert asset["next_run"] > document["generated_at"]


def test_status_names_one_table_or_all(settled: Shop):
    assert list(answer("status", AUTHOR)["assets"]) == [AUTHOR]
    assert list(answer("status", "shop")["assets"]) == [ARTICLE, AUTHOR]


def test_status_shows_people_a_table(settled: Shop):
    text = invoke("status").stdout
    for part in (ARTICLE, AUTHOR, "healthy", "0.0 s"):
        assert part in text


@pytest.mark.slow
def test_status_takes_the_last_proof_and_live_asks_now(synced: Shop):
    synced.execute("""DELETE FROM "Author" """)
    assert answer("status", ARTICLE)["healthy"]
    _remove_from_target(synced, "a")
    assert answer("status", ARTICLE)["healthy"]
    document = answer("status", ARTICLE, "--live", code=1)
    assert document["assets"][ARTICLE]["missing"] == 1
    assert answer("status", ARTICLE, code=1)["assets"][ARTICLE]["missing"] == 1


@pytest.mark.slow
def test_status_tells_what_waits_and_since_when(synced: Shop):
    synced.put("c")
    asset = answer("status", ARTICLE)["assets"][ARTICLE]
    assert asset["pending"] == 1
    assert 0 < asset["lag_seconds"] < 60


def test_a_table_that_was_never_synced_is_unhealthy(shop: Shop):
    asset = answer("status", ARTICLE, code=1)["assets"][ARTICLE]
    assert (asset["configured"], asset["healthy"], asset["last_success"]) == (True, False, None)


@pytest.mark.slow
def test_a_failed_sync_is_unhealthy_with_its_reason_until_one_is_good_again(synced: Shop):
    synced.execute("""TRUNCATE "Article" """)
    client.trigger(ARTICLE, wait=True)
    asset = answer("status", ARTICLE, code=1)["assets"][ARTICLE]
    assert "would be deleted" in asset["last_error"]
    client.trigger(ARTICLE, wait=True, allow_mass_delete=True)
    assert answer("status", ARTICLE)["assets"][ARTICLE]["last_error"] is None


@pytest.mark.slow
def test_a_failed_sync_is_over_too_when_a_proof_finds_that_it_left_nothing_undone(synced: Shop):
    synced.execute("""ALTER TABLE "Article" RENAME TO "Elsewhere" """)
    client.trigger(ARTICLE, full=True, wait=True)
    synced.execute("""ALTER TABLE "Elsewhere" RENAME TO "Article" """)
    assert answer("status", ARTICLE, code=1)["assets"][ARTICLE]["problems"] == ["the last sync failed"]
    assert invoke("check", ARTICLE).exit_code == 0
    assert answer("status", ARTICLE)["assets"][ARTICLE]["last_error"] is None
    synced.put("later")
    assert answer("status", ARTICLE)["assets"][ARTICLE]["last_error"] is None


def test_a_sync_that_is_not_configured_is_told_so_and_is_no_failure(shop: Shop, monkeypatch):
    monkeypatch.delenv("CHROMA_URL")
    document = answer("status")
    assert document["healthy"]
    assert document["assets"][ARTICLE]["configured"] is False
    assert document["assets"][ARTICLE]["source_count"] is None
    assert "not configured" in invoke("status").stdout


@pytest.mark.slow
def test_a_source_out_of_reach_makes_its_table_unhealthy_and_the_others_are_told(synced: Shop):
    synced.execute("""DROP TABLE "Author" """)
    document = answer("status", code=1)
    assert document["assets"][ARTICLE]["healthy"]
    author = document["assets"][AUTHOR]
    assert not author["healthy"]
    assert "there is no table 'Author'" in author["last_error"]
    assert author["source_count"] == 1


def test_a_ledger_out_of_reach_makes_every_table_unhealthy_after_one_wait(settled: Shop, monkeypatch):
    from sync_pipelines.engine.ledger.ledger import Ledger

    asked, check = [], Ledger.check
    monkeypatch.setattr(Ledger, "check", lambda self: (asked.append(self.url), check(self)))
    monkeypatch.setenv("SYNC_DATABASE_URL", "postgresql://app:s3cret-word@127.0.0.1:9/app")
    document = answer("status", code=1)
    assert len(asked) == 1  # an address that does not answer costs 5 s, which is once enough
    for asset in document["assets"].values():
        assert not asset["healthy"]
        assert "127.0.0.1:9" in asset["last_error"]
        assert "s3cret" not in asset["last_error"]


@pytest.mark.slow
def test_quarantine_only_warns(synced: Shop):
    with synced.ledger as ledger:
        run = ledger.begin("shop", "article", mode="records", trigger="cli", run_id="x")
        ledger.quarantine(run, [Rejection(key="q", reason="no text", stage="map")])
        ledger.finish(run, status="completed", counts=run.counts)
    asset = answer("status", ARTICLE)["assets"][ARTICLE]
    assert (asset["quarantined"], asset["healthy"]) == (1, True)
    assert asset["warnings"] == ["1 in quarantine"]


@pytest.mark.slow
def test_check_proves_now_names_keys_and_ends_with_1_when_different(synced: Shop):
    assert answer("check", "shop")["equal"]
    _remove_from_target(synced, "a")
    document = answer("check", "shop", code=1)
    assert not document["equal"]
    assert document["tables"][ARTICLE]["samples"] == {"missing": ["a"]}
    assert document["tables"][AUTHOR]["equal"]
    text = invoke("check", ARTICLE).stdout
    assert "1 missing" in text
    assert "missing: a" in text


def test_sync_runs_and_tells_what_it_did(shop: Shop):
    shop.put("a", "b")
    document = answer("sync", ARTICLE)
    (run,) = document["runs"]
    assert (run["status"], run["table"], run["reason"]) == ("completed", "article", "first run")
    assert run["counts"]["upserted"] == 2
    assert run["proof"] == {"equal": True, "missing": 0, "stale": 0, "extra": 0}
    assert shop.stored() == {"a", "b"}
    shop.put("b", "c", body="new")
    text = invoke("sync", ARTICLE).stdout
    assert "shop/article: completed: 2 read, 2 upserted, 2 texts embedded" in text


@pytest.mark.slow
def test_sync_of_keys_takes_them_joined_and_single(synced: Shop):
    synced.put("a", "b", "c", "d,e", body="changed")
    run = answer("sync", ARTICLE, "--keys", "a, b", "--key", "d,e")["runs"][0]
    assert (run["mode"], run["counts"]["upserted"]) == ("records", 3)
    assert synced.stored() == {"a", "b", "d,e"}


@pytest.mark.slow
def test_sync_ends_with_1_and_the_reason_when_a_run_fails_and_still_runs_the_others(synced: Shop):
    synced.execute("""TRUNCATE "Article" """)
    synced.put("y", table="Author")
    result = invoke("sync", "shop")
    assert result.exit_code == 1
    assert "shop/article: failed" in result.stdout
    assert "--allow-mass-delete" in result.stderr
    assert "Traceback" not in result.output
    assert synced.stored("author") == {"y", "z"}
    assert answer("sync", ARTICLE, "--allow-mass-delete")["runs"][0]["counts"]["deleted"] == 2


@pytest.mark.slow
def test_sync_ends_with_1_when_source_and_target_differ_after_it(synced: Shop):
    _remove_from_target(synced, "a")
    run = answer("sync", ARTICLE, code=1)["runs"][0]
    assert (run["status"], run["proof"]["equal"], run["proof"]["missing"]) == ("completed", False, 1)
    assert answer("sync", ARTICLE, "--full")["runs"][0]["counts"]["upserted"] == 1


@pytest.mark.slow
def test_a_dry_run_is_a_plan_and_leaves_everything_as_it_is(synced: Shop):
    synced.put("a", body="changed")
    synced.put("c")
    plan, same = (answer(*words)["plans"][0] for words in (("sync", ARTICLE, "--dry-run"), ("plan", ARTICLE)))
    assert plan | {"embed_seconds": 0} == same | {"embed_seconds": 0}
    assert (plan["read"], plan["upserts"], plan["embed_texts"], plan["deletes"]) == (2, 2, 2, 0)
    assert plan["embed_characters"] > 0
    assert synced.stored() == {"a", "b"}
    assert len(client.recent(ARTICLE)) == 1
    one = answer("sync", ARTICLE, "--dry-run", "--key", "a")["plans"][0]
    assert one["read"] == 1


@pytest.mark.slow
def test_a_plan_says_when_the_guard_would_refuse(synced: Shop):
    synced.execute("""DELETE FROM "Article" """)
    plan = answer("plan", ARTICLE, "--full")["plans"][0]
    assert (plan["mode"], plan["deletes"]) == ("full", 2)
    assert "guard" in plan["refused"]
    assert "--allow-mass-delete" in invoke("plan", ARTICLE, "--full").stdout


@pytest.mark.slow
def test_a_plan_for_people_says_texts_characters_tokens_and_time(synced: Shop):
    synced.put("c")
    text = invoke("plan", ARTICLE).stdout
    for part in ("texts to embed", "characters", "tokens", "embedding takes about"):
        assert part in text


@pytest.mark.slow
def test_logs_tell_the_runs_the_newest_first_and_page_by_page(synced: Shop):
    client.trigger(ARTICLE, full=True, wait=True)
    runs = answer("logs", ARTICLE)["runs"]
    assert [run["mode"] for run in runs] == ["full", "incremental"]
    assert runs[1]["counts"]["upserted"] == 2
    assert [run["mode"] for run in answer("logs", ARTICLE, "--limit", "1", "--offset", "1")["runs"]] == ["incremental"]
    assert len(answer("logs")["runs"]) == 3
    assert "2 read, 2 upserted" in invoke("logs", ARTICLE).stdout


@pytest.mark.slow
def test_logs_of_a_key_are_its_own_history(synced: Shop):
    with synced.ledger as ledger:
        run = ledger.begin("shop", "article", mode="records", trigger="cli", run_id="x")
        ledger.quarantine(run, [Rejection(key="[red]q", reason="no [text]", stage="map")])
        ledger.settle("shop", "article", ["[red]q"], run)
        ledger.finish(run, status="completed", counts=run.counts)
    events = answer("logs", "shop", "--key", "[red]q")["events"]
    assert [event["event"] for event in events] == ["recovered", "failed"]
    assert "no such record" in invoke("logs", AUTHOR, "--key", "[red]q").stderr
    text = invoke("logs", "--key", "[red]q").stdout
    assert "[red]q" in text
    assert "no [text]" in text


@pytest.mark.slow
def test_reconcile_is_repair_of_one_or_several_tables(synced: Shop):
    _remove_from_target(synced, "a")
    planned = answer("reconcile", ARTICLE, AUTHOR, ARTICLE, "--dry-run", code=1)["tables"]
    assert {path: plan["missing"] for path, plan in planned.items()} == {ARTICLE: 1, AUTHOR: 0}
    runs = answer("reconcile", AUTHOR, ARTICLE, "--batch-size", "1")["runs"]
    assert [(run["table"], run["repaired"]) for run in runs] == [("author", 0), ("article", 1)]
    assert runs[0]["audit_id"] < runs[1]["audit_id"]
    assert set(runs[0]["left_out"].values()) == {0}
    assert "belong to one" in invoke("reconcile", ARTICLE, AUTHOR, "--key", "a").stderr


@pytest.mark.slow
def test_a_table_that_cannot_be_asked_hides_none_of_the_others(shop: Shop):
    shop.put("a")
    assert invoke("sync", "shop").exit_code == 0
    shop.execute('ALTER TABLE "Article" RENAME TO "Elsewhere"')
    for words in (("check", "shop"), ("repair", "shop", "--dry-run")):
        result = invoke(*words, "--json")
        found = json.loads(result.stdout)
        assert list(found["tables"]) == [AUTHOR]
        assert "there is no table 'Article'" in found["problems"][ARTICLE]
        assert "there is no table 'Article'" in result.stderr
        assert result.exit_code == 1
        assert AUTHOR in invoke(*words).stdout


def test_search_finds_the_record_first_and_tells_key_score_text_and_metadata(settled: Shop):
    hits = answer("search", ARTICLE, "title of b a body", "--limit", "1")["hits"]
    assert len(hits) == 1
    assert {"key", "score", "text", "metadata"} <= set(hits[0])
    assert answer("search", ARTICLE, "body", "--where", '{"stock": 99}')["hits"] == []
    text = invoke("search", "shop", "a body").stdout
    for part in ("stock=1", "title of b", "article"):
        assert part in text


def test_a_filter_on_a_field_that_no_record_has_is_told_with_the_nearest(settled: Shop):
    for name, hint in (("stok", "Did you mean 'stock'?"), ("zzz", "There are: stock.")):
        result = invoke("search", ARTICLE, "body", "--where", json.dumps({name: 1}))
        assert result.exit_code == 0
        assert "Nothing was found." in result.stderr
        assert f"No record has a field {name!r}. {hint}" in result.stderr
    assert "No record" not in invoke("search", ARTICLE, "body", "--where", '{"stock": 99}').stderr


@pytest.mark.slow
def test_a_search_over_a_sync_leaves_out_and_names_the_table_that_is_not_synced_yet(shop: Shop):
    shop.put("a")
    assert invoke("sync", ARTICLE).exit_code == 0
    result = invoke("search", "shop", "a body", "--json")
    assert result.exit_code == 0, result.stderr
    assert [hit["table"] for hit in json.loads(result.stdout)["hits"]] == [ARTICLE]
    assert f"{AUTHOR}: there is no collection" in result.stderr


def test_the_only_sync_is_searched_where_none_is_named(settled: Shop, monkeypatch):
    import sync_pipelines
    from sync_pipelines.resources.chroma import ChromaResource
    from sync_pipelines.resources.search import SearchResource

    assert {hit.table for hit in sync_pipelines.search("a body")} == {ARTICLE, AUTHOR}
    assert SearchResource(chroma=ChromaResource()).search("a body", limit=1)
    found = (article(), article(sync="store", name="other", target={"collection": "other"}))
    monkeypatch.setattr("sync_pipelines.definitions.load", lambda *_: (definitions(*found), found))
    with pytest.raises(ConfigurationError, match=r"Several syncs can be searched: shop, store\. Name one"):
        sync_pipelines.search("a body")


@pytest.mark.parametrize("where", ["{", "[1]"])
def test_a_filter_that_is_no_json_object_is_refused(shop: Shop, where):
    result = invoke("search", ARTICLE, "x", "--where", where)
    assert result.exit_code == 2
    assert "--where" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("sync", ARTICLE, "--full", "--keys", "a"),
        ("sync", ARTICLE, "--rebuild", "--key", "a"),
        ("sync", ARTICLE, "--full", "--rebuild"),
        ("sync", ARTICLE, "--full", "--rebuild", "--dry-run"),
        ("sync", ARTICLE, "--full", "--dry-run", "--no-wait"),
        ("sync", ARTICLE, "--keys", " , "),
        ("plan", ARTICLE, "--full", "--rebuild"),
        ("repair", ARTICLE, "--dry-run", "--no-wait"),
        ("quarantine", "drop", ARTICLE),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage_before_anything_starts(settled: Shop, words):
    before = len(client.recent())
    result = invoke(*words)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert "starting" not in result.output
    assert len(client.recent()) == before


@pytest.mark.slow
def test_jobs_are_listed_watched_and_cancelled(settled: Shop):
    runs = answer("jobs", "list")["runs"]
    assert [(run["table"], run["status"]) for run in runs] == [("author", "completed"), ("article", "completed")]
    assert answer("jobs", "list", "--active")["runs"] == []
    assert [run["table"] for run in answer("jobs", "list", AUTHOR)["runs"]] == ["author"]
    assert answer("jobs", "status", runs[0]["run_id"])["status"] == "completed"
    assert runs[0]["run_id"] in invoke("jobs", "list").stdout
    assert answer("jobs", "cancel", runs[0]["run_id"])["status"] == "completed"
    assert invoke("jobs", "status", "nobody").exit_code == 3


@pytest.mark.slow
def test_the_status_of_a_failed_job_ends_with_1_and_its_sentence(synced: Shop):
    synced.execute("""TRUNCATE "Article" """)
    run_id = client.trigger(ARTICLE, wait=True)
    result = invoke("jobs", "status", run_id)
    assert result.exit_code == 1
    assert "would be deleted" in result.stderr


def _remove_from_target(shop: Shop, key: str) -> None:
    shop.bound().binding().target.delete([key])
