"""The asset checks of a table, run by Dagster over real PostgreSQL and Chroma."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.dagster.world import World


def check(world: World, job: str = "check") -> dict[str, dg.AssetCheckEvaluation]:
    """Run a sync's job of checks as a schedule does; the results by the check's name."""
    found = definitions(world.component).resolve_job_def(f"{world.component.sync}_{job}")
    result = found.execute_in_process(instance=world.instance)
    assert result.success
    return {it.check_name: it for it in result.get_asset_check_evaluations()}


def samples(found: dg.AssetCheckEvaluation) -> dict[str, str]:
    """Key → kind of difference, of the table in a check's metadata."""
    return {record["key"]: record["difference"] for record in records(found)}


def records(found: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    """The rows of the table in a check's metadata."""
    table: Any = found.metadata.get("samples")
    return [record.data for record in table.records] if table else []


def synced(world: World, *keys: str) -> None:
    for key in keys:
        world.put(key, body=f"the body of {key}")
    world.sync()


@pytest.mark.slow
def test_every_run_is_followed_by_count_content_schema_and_backlog_and_never_by_deep(world: World):
    world.put("a")
    result = world.materialize()
    found = {it.check_name: it.passed for it in result.get_asset_check_evaluations()}
    assert found == {"count": True, "content": True, "schema": True, "backlog": True}


@pytest.mark.slow
def test_materialize_in_the_ui_selects_every_check_and_the_deep_one_says_nothing(world: World):
    world.put("a")
    result = dg.materialize(
        [*definitions(world.component).assets, *definitions(world.component).asset_checks],
        instance=world.instance,
        resources=definitions(world.component).resources,
        partition_key="2026-01-01",
    )
    assert result.success
    assert "deep" not in {it.check_name for it in result.get_asset_check_evaluations()}


def test_count_and_content_name_what_is_missing_stale_and_extra(world: World):
    synced(world, "a", "b", "c")
    world.collection.delete(ids=["a"])
    world.collection.update(ids=["b"], metadatas=[{"sync_fingerprint": "another"}])
    world.collection.add(ids=["x", "y"], documents=["x", "y"], embeddings=[[0.1] * 16] * 2)
    for name, found in check(world).items():
        if name in ("count", "content"):
            assert not found.passed
            assert found.severity == dg.AssetCheckSeverity.ERROR
            assert samples(found) == {"a": "missing", "b": "stale", "x": "extra", "y": "extra"}


@pytest.mark.slow
def test_counts_that_agree_do_not_say_that_the_content_does(world: World):
    synced(world, "a", "b")
    world.collection.update(ids=["b"], metadatas=[{"sync_fingerprint": "another"}])
    found = check(world)
    assert found["count"].passed
    assert not found["content"].passed


@pytest.mark.slow
def test_only_the_deep_check_finds_what_was_edited_under_a_right_fingerprint(world: World):
    synced(world, "a", "b", "c", "d")
    world.collection.update(ids=["a"], documents=["edited by a human"], embeddings=[[0.1] * 16])
    world.collection.update(ids=["b"], metadatas=[{"stock": 99}])
    assert check(world)["content"].passed
    deep = check(world, "check_deep")["deep"]
    assert samples(deep) == {"a": "stale", "b": "stale"}
    why = {record["key"]: record["why"] for record in records(deep)}
    assert ("document" in why["a"], "metadata" in why["b"]) == (True, True)


@pytest.mark.slow
def test_the_deep_check_finds_a_vector_that_is_not_its_texts(world: World):
    synced(world, "a", "b")
    world.collection.update(ids=["a"], embeddings=[[9.0, -9.0] * 8])
    deep = check(world, "check_deep")["deep"]
    assert samples(deep) == {"a": "stale"}


@pytest.mark.slow
def test_one_connection_is_enough_for_every_check_of_a_large_table(world: World, monkeypatch: pytest.MonkeyPatch):
    """The keys that a run touched are streamed while the source is asked for their values."""
    from sync_pipelines.sources.postgres import connection

    connection.pool.cache_clear()
    monkeypatch.setenv("SYNC_DB_POOL_MAX", "1")
    world.component = article(checks={"content_limit": 1})
    for key in "abc":
        world.put(key)
    world.sync()
    world.put("b", body="another")
    world.sync()
    assert world.prove().equal


@pytest.mark.slow
def test_a_large_table_is_proven_by_the_keys_that_a_run_touched(world: World):
    world.component = article(checks={"content_limit": 1})
    synced(world, "a", "b", "c")
    world.collection.delete(ids=["a"])
    world.put("b", body="changed")
    result = world.materialize()
    found = {it.check_name: it for it in result.get_asset_check_evaluations()}
    assert found["content"].passed
    assert "touched" in found["content"].description
    assert found["content"].metadata["scope"].value == "touched"
    assert not found["count"].passed
    assert "scope" not in check(world)["content"].metadata


@pytest.mark.slow
def test_differences_of_the_last_whole_proof_stand_until_another_clears_them(world: World):
    world.component = article(checks={"content_limit": 1})
    synced(world, "a", "b", "c")
    world.collection.delete(ids=["a"])
    assert not check(world)["content"].passed
    world.put("b", body="changed")
    found = {it.check_name: it for it in world.materialize().get_asset_check_evaluations()}
    assert not found["content"].passed
    world.put("a", body="back")
    world.sync()
    assert check(world)["content"].passed


@pytest.mark.slow
def test_a_touched_key_that_did_not_arrive_is_named(world: World, monkeypatch: pytest.MonkeyPatch):
    world.component = article(checks={"content_limit": 1})
    synced(world, "a", "b", "c")
    world.put("b", body="changed")
    from sync_pipelines.engine import run as engine

    write = engine.write

    def lossy(changes: Any) -> Any:
        counts = write(changes)
        world.collection.delete(ids=["b"])
        return counts

    monkeypatch.setattr(engine, "write", lossy)
    found = {it.check_name: it for it in world.materialize().get_asset_check_evaluations()}
    assert samples(found["content"]) == {"b": "missing"}


@pytest.mark.slow
def test_few_differences_are_a_warning_where_the_document_says_so(world: World):
    world.component = article(checks={"error_above": 1})
    synced(world, "a", "b", "c")
    world.collection.delete(ids=["a"])
    assert check(world)["content"].severity == dg.AssetCheckSeverity.WARN
    world.collection.delete(ids=["b"])
    assert check(world)["content"].severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.slow
def test_the_backlog_warns_then_alarms_by_the_age_of_the_oldest_change(world: World):
    synced(world, "a")
    world.put("b")
    for minutes, passed, severity in ((5, True, None), (20, False, "WARN"), (180, False, "ERROR")):
        world.execute(f"UPDATE sync.change_log SET changed_at = now() - interval '{minutes} minutes'")
        found = check(world)["backlog"]
        assert found.passed == passed
        assert severity in (None, found.severity.value)


@pytest.mark.slow
def test_the_backlog_warns_of_quarantine_with_its_keys(world: World):
    world.put("good")
    world.put("bad")
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.component = article(metadata=["stock", "weight"])
    world.execute("""UPDATE "Article" SET weight = 'NaN' WHERE id = 'bad'""")
    world.sync()
    found = check(world)["backlog"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert samples(found) == {"bad": "quarantined"}


@pytest.mark.slow
def test_the_backlog_leaves_out_what_an_operator_has_dropped(world: World):
    world.execute("""ALTER TABLE "Article" ADD COLUMN weight float8""")
    world.component = article(metadata=["stock", "weight"])
    synced(world, "good", "late", *(f"a{number:02}" for number in range(20)))
    world.execute("""UPDATE "Article" SET weight = 'NaN' WHERE id <> 'good'""")
    world.sync()
    with world.resources.ledger.ledger() as ledger:
        ledger.drop_quarantined("shop", "article", [f"a{number:02}" for number in range(20)])
        assert samples(check(world)["backlog"]) == {"late": "quarantined"}
        ledger.drop_quarantined("shop", "article", ["late"])
    found = check(world)["backlog"]
    assert (found.passed, samples(found), found.metadata["excluded"].value) == (True, {}, 21)


@pytest.mark.slow
def test_the_schema_check_sees_a_changed_type_a_lost_column_and_a_target_made_otherwise(world: World):
    synced(world, "a")
    assert check(world)["schema"].passed
    world.execute("""ALTER TABLE "Article" ALTER COLUMN stock TYPE bigint""")
    changed = check(world)["schema"]
    assert (changed.passed, changed.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "stock: integer → bigint" in changed.description
    world.component = article(embedding={"name": "hash", "dimensions": 8})
    rebuilt = check(world)["schema"]
    assert (rebuilt.passed, rebuilt.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_deep_is_made_at_the_cadence_of_the_document():
    names = {
        cadence: [
            (schedule.name, schedule.cron_schedule)
            for schedule in definitions(article(checks={"deep": cadence})).get_repository_def().schedule_defs
            if "deep" in schedule.name
        ]
        for cadence in ("daily", "weekly", "never", "5 4 1 * *")
    }
    assert names == {
        "daily": [("shop_check_deep_schedule", "0 3 * * *")],
        "weekly": [("shop_check_deep_schedule", "0 3 * * 0")],
        "never": [],
        "5 4 1 * *": [("shop_check_deep_schedule", "5 4 1 * *")],
    }
    with pytest.raises(ValueError, match="no cron"):
        article(checks={"deep": "sometimes"})


def test_the_backlog_has_a_schedule_of_its_own_that_asks_for_it_alone(world: World):
    request = world.schedule_tick("shop_check_backlog_schedule").run_requests[0]
    assert [key.name for key in request.asset_check_keys] == ["backlog"]


def test_freshness_stands_on_the_asset(world: World):
    spec = next(iter(definitions(world.component).resolve_all_asset_specs()))
    assert spec.freshness_policy is not None


LARGE = {"content_limit": 1}
"""So that a run's content check proves the keys that it touched alone."""


def lose(world: World, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """From now on the target forgets what was written of this key, after every write."""
    from sync_pipelines.engine import run as engine

    write = engine.write

    def lossy(changes: Any) -> Any:
        counts = write(changes)
        world.collection.update(ids=[key], metadatas=[{"sync_fingerprint": "another"}])
        return counts

    monkeypatch.setattr(engine, "write", lossy)


def content(world: World, **options: Any) -> dg.AssetCheckEvaluation:
    found = world.materialize(**options).get_asset_check_evaluations()
    return next(it for it in found if it.check_name == "content")


@pytest.mark.slow
def test_a_touched_key_that_was_found_wrong_stays_so_until_it_is_right(world: World, monkeypatch: pytest.MonkeyPatch):
    world.component = article(checks=LARGE)
    synced(world, "a", "b", "c")
    with monkeypatch.context() as patched:
        lose(world, patched, "b")
        world.put("b", body="changed")
        assert samples(content(world)) == {"b": "stale"}
    world.put("c", body="changed")
    assert samples(content(world)) == {"b": "stale"}
    world.put("b", body="changed again")
    world.sync()
    assert check(world)["content"].passed


@pytest.mark.slow
def test_a_run_that_read_more_than_what_was_pending_is_proven_whole(world: World, monkeypatch: pytest.MonkeyPatch):
    world.component = article(checks=LARGE)
    for key in "abc":
        world.put(key)
    lose(world, monkeypatch, "b")
    assert samples(content(world)) == {"b": "stale"}  # a first run
    world.client.delete_collection("article")
    assert samples(content(world)) == {"b": "stale"}  # a wiped target
    assert samples(content(world, partition="2024-02-01")) == {"b": "stale"}  # an old window


@pytest.mark.slow
def test_what_another_run_has_overtaken_is_proven_whole(world: World, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.engine.ledger.history import HistoryBook

    world.component = article(checks=LARGE)
    synced(world, "a", "b", "c")
    monkeypatch.setattr(HistoryBook, "touched_since", lambda *_: None)
    lose(world, monkeypatch, "b")
    world.put("b", body="changed")
    assert samples(content(world)) == {"b": "stale"}


@pytest.mark.slow
def test_what_changes_while_the_deep_check_searches_is_no_difference(world: World, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.targets.chroma import probe

    synced(world, "a", "b")
    reason, changed = probe._reason, []

    def meanwhile(*args: Any) -> str | None:
        if not changed:
            changed.append(True)
            world.put("a", body="rewritten meanwhile")
            world.put("b", body="rewritten meanwhile, too")
            world.sync()
        return reason(*args)

    monkeypatch.setattr(probe, "_reason", meanwhile)
    assert check(world, "check_deep")["deep"].passed
    assert check(world)["content"].passed


@pytest.mark.slow
def test_a_vector_that_a_sync_has_made_anew_is_no_difference_any_more(world: World):
    synced(world, "a", "b")
    world.collection.update(ids=["a"], embeddings=[[9.0, -9.0] * 8])
    assert not check(world, "check_deep")["deep"].passed
    assert not check(world)["content"].passed
    world.put("a", body="rewritten by the application")
    world.sync()
    assert check(world)["content"].passed


@pytest.mark.slow
def test_a_reason_never_spells_a_sensitive_key(world: World):
    world.component = article(sensitive=["id"])
    synced(world, "x#12")
    world.collection.update(ids=world.collection.get()["ids"], embeddings=[[9.0, -9.0] * 8])
    [found] = records(check(world, "check_deep")["deep"])
    assert "x#" not in str(found)
    assert "vector" in found["why"]


@pytest.mark.slow
def test_an_outage_during_a_check_is_tried_again_and_fails_no_run(world: World, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines import failures
    from sync_pipelines.engine.errors import TransientError
    from sync_pipelines.targets.chroma.target import ChromaTarget

    monkeypatch.setattr(failures, "pause", lambda *_: 0.0)
    synced(world, "a")
    count, failed = ChromaTarget.count, []

    def once(self: ChromaTarget) -> int:
        if not failed:
            failed.append(True)
            raise TransientError("Chroma does not answer.")
        return count(self)

    monkeypatch.setattr(ChromaTarget, "count", once)
    found = check(world)
    assert failed
    assert all(it.passed for it in found.values())
