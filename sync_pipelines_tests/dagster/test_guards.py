"""What a run may delete, and how much it may refuse, before it stops (DESIGN.md §2.4, §2.5)."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.run import Run
from sync_pipelines_tests.dagster.functions import BROKEN
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.test_repair import repair
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.spare import spare


def fill(world: World, number: int, *, prefix: str = "k") -> None:
    """So many articles, `stock` from 1 on, in one statement."""
    world.execute(
        """INSERT INTO "Article" SELECT %s || g, '{"en": "t"}', 'body ' || g, g FROM generate_series(1, %s) AS g""",
        prefix,
        number,
    )


def exchange(world: World) -> None:
    """150 synced articles give way to 1,400 others."""
    fill(world, 150, prefix="old")
    world.sync()
    world.execute("""DELETE FROM "Article" """)
    fill(world, 1400, prefix="new")


def old_ones(world: World) -> int:
    return sum(key.startswith("old") for key in world.stored())


@pytest.fixture
def by_function(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A table whose text a function makes, which is whole as yet."""
    monkeypatch.delenv(BROKEN, raising=False)
    world.component = article(text="sync_pipelines_tests.dagster.functions:body", columns=["body", "stock"])
    return world


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.spare_where(mode="incremental")
def test_a_source_that_was_exchanged_deletes_nothing_however_much_it_brings_and_however_often(world: World, mode: str):
    exchange(world)
    for _ in range(2):  # what the first attempt wrote must not dilute the second one's share
        result = world.materialize(mode=mode, raises=False)
        assert not result.success
        assert "150 of the target's 1550 records would be deleted (150 after the last" in world.failure(result)
        assert old_ones(world) == 150
    assert world.sync(mode=mode, allow_mass_delete=True).deleted == 150
    assert len(world.stored()) == 1400


@pytest.mark.slow
def test_without_a_ledgers_word_nothing_is_written_before_the_guard_was_asked(world: World):
    exchange(world)
    world.execute("DELETE FROM sync.sync_watermarks")
    for _ in range(2):
        result = world.materialize(raises=False)
        assert "150 of the target's 150 records would be deleted" in world.failure(result)
        assert "Nothing was changed" in world.failure(result)
        assert len(world.stored()) == 150


@pytest.mark.slow
def test_a_repair_of_an_exchanged_source_deletes_nothing_however_often(world: World):
    exchange(world)
    world.execute(  # else all of it is pending, which a repair leaves alone
        "UPDATE sync.sync_watermarks SET watermark = "
        "jsonb_set(watermark, '{position,snapshot}', to_jsonb(pg_current_snapshot()::text))"
    )
    for _ in range(2):
        assert not repair(world, raises=False).success
        assert old_ones(world) == 150
    assert "150 of the target's 1550 records would be deleted (150 after the last" in world.last_run().error


@pytest.mark.slow
def test_a_repair_without_a_ledgers_word_writes_nothing_before_the_guard_was_asked(world: World):
    """What it wrote would else be counted among what the target held, by the next one."""
    exchange(world)
    world.execute("DELETE FROM sync.sync_watermarks")
    for _ in range(2):
        assert not repair(world, raises=False).success
        assert "150 of the target's 150 records would be deleted" in world.last_run().error
        assert len(world.stored()) == 150


@pytest.mark.slow
def test_a_full_run_that_writes_nothing_notes_nothing_in_the_settings(world: World):
    fill(world, 150, prefix="same")
    world.sync()
    before = world.execute("SELECT xmin::text, * FROM sync.sync_settings")
    world.execute("CREATE TABLE seen (setting text)")
    world.execute(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO public.seen VALUES (coalesce(new.setting_key, old.setting_key)); RETURN NULL; END $$; "
        "CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON sync.sync_settings FOR EACH ROW EXECUTE FUNCTION see()"
    )
    world.sync(mode="full")
    assert world.execute("SELECT xmin::text, * FROM sync.sync_settings") == before
    assert world.execute("SELECT * FROM seen") == []


@pytest.mark.slow
def test_a_plan_measures_by_the_same_number(world: World):
    exchange(world)
    assert not world.materialize(raises=False).success
    binding = world.component.bind(world.resources)
    with binding.ledger:
        assert plan(binding, mode="incremental").refused
        assert plan(binding, mode="full").refused


def dying(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A run that dies at this point."""

    def died(*_: object, **__: object) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as patched:
        patched.setattr(Run, where, died)
        assert not world.materialize(raises=False).success


@pytest.mark.slow
@pytest.mark.parametrize(("confirmed", "gone"), [(3, 101), (600, 150)])
@pytest.mark.parametrize("mode", ["incremental", *spare("full")])
@pytest.mark.spare_where(confirmed=600)
def test_what_a_run_wrote_and_did_not_confirm_counts_among_the_targets_records(
    world: World, monkeypatch: pytest.MonkeyPatch, confirmed: int, gone: int, mode: str
):
    fill(world, confirmed, prefix="old")
    world.sync()
    fill(world, 2000)
    dying(world, monkeypatch, "_confirm")
    world.execute("""DELETE FROM "Article" WHERE id IN (SELECT 'k' || g FROM generate_series(1, %s) AS g)""", gone)
    assert world.sync(mode=mode).deleted == gone
    assert world.prove().equal


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.spare_where(mode="full")
def test_a_run_that_dies_before_the_guard_was_asked_thins_no_later_runs_share(
    world: World, monkeypatch: pytest.MonkeyPatch, mode: str
):
    exchange(world)
    dying(world, monkeypatch, "guard")
    assert len(world.stored()) == 1550
    result = world.materialize(mode=mode, raises=False)
    assert "150 of the target's 1550 records would be deleted" in world.failure(result)
    assert "over 10% of 150 and over 100 records" in world.failure(result)
    assert old_ones(world) == 150


@pytest.mark.slow
def test_a_deletion_that_the_guard_has_let_pass_measures_no_later_one(world: World, monkeypatch: pytest.MonkeyPatch):
    gone = """DELETE FROM "Article" WHERE id IN (SELECT 'old' || g FROM generate_series(%s, %s) AS g)"""
    fill(world, 1100, prefix="old")
    world.sync()
    world.execute(gone, 1, 101)
    fill(world, 1500)
    dying(world, monkeypatch, "_confirm")
    assert len(world.stored()) == 2499
    world.execute(gone, 102, 301)  # 8 % of what is there, and 18 % of what was there before the first ones went
    assert world.sync().deleted == 200


@pytest.mark.slow
def test_the_guard_names_the_number_that_it_measured_by(world: World, monkeypatch: pytest.MonkeyPatch):
    fill(world, 3, prefix="old")
    world.sync()
    fill(world, 600)
    dying(world, monkeypatch, "_confirm")
    world.execute("""DELETE FROM "Article" WHERE id LIKE 'k%%'""")
    fill(world, 2000, prefix="new")
    for _ in range(2):
        said = world.failure(world.materialize(raises=False))
        assert (
            "600 of the target's 2603 records would be deleted (3 after the last confirmed sync, 603 before what came "
            "with the deletion was written): that is over 10% of 603 and over 100 records."
        ) in said
    assert world.sync(allow_mass_delete=True).deleted == 600
    fill(world, 700, prefix="more")
    world.execute("""DELETE FROM "Article" WHERE stock > 1850""")
    assert world.sync().deleted == 150  # the older number is forgotten


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "rebuild"])
@pytest.mark.spare_where(mode="full")
def test_a_broken_function_stops_the_run_and_is_no_bad_record(by_function: World, monkeypatch, mode: str):
    world = by_function
    fill(world, 300)
    world.sync()
    before, mark = world.stored(), world.watermark()
    monkeypatch.setenv(BROKEN, "1")
    for _ in range(2):
        result = world.materialize(mode=mode, raises=False)
        assert not result.success
        said = world.failure(result)
        assert "a bug in the user's function" in said
        assert "a mapping, function or column is broken" in said
        assert (world.stored(), world.watermark()) == (before, mark)
        assert world.last_run().counts.quarantined == 0
    assert world.prove().quarantined == 0
    monkeypatch.delenv(BROKEN)
    assert world.sync().read == 0


@pytest.mark.slow
def test_a_run_stops_over_the_guards_share_of_what_it_read(by_function: World, monkeypatch):
    world = by_function
    fill(world, 300)
    monkeypatch.setenv(BROKEN, "200")  # 101 of 300
    result = world.materialize(raises=False)
    assert "records were refused" in world.failure(result)
    assert world.watermark() is None
    assert world.sync(allow_mass_delete=True).quarantined == 101
    assert len(world.stored()) == 199


@pytest.mark.slow
def test_records_that_are_in_quarantine_already_stop_no_later_run(by_function: World, monkeypatch):
    world = by_function
    fill(world, 300)
    monkeypatch.setenv(BROKEN, "200")
    world.sync(allow_mass_delete=True)
    assert world.sync(mode="full").quarantined == 101
    world.execute("""UPDATE "Article" SET body = 'again' WHERE stock >= 200""")
    assert world.sync().quarantined == 101
    assert world.prove().equal


@pytest.mark.slow
def test_a_few_bad_records_and_nothing_else_hold_up_no_delete(by_function: World, monkeypatch):
    world = by_function
    fill(world, 9)
    world.sync()
    monkeypatch.setenv(BROKEN, "100")
    world.execute("""UPDATE "Article" SET stock = 100 WHERE id IN (SELECT id FROM "Article" ORDER BY id LIMIT 4)""")
    world.execute("""DELETE FROM "Article" WHERE id = (SELECT max(id) FROM "Article")""")
    counts = world.sync()
    assert (counts.quarantined, counts.deleted) == (4, 1)
    assert world.prove().equal


@pytest.mark.slow
def test_half_of_a_small_table_is_no_few_bad_records(by_function: World, monkeypatch):
    world = by_function
    fill(world, 10)
    monkeypatch.setenv(BROKEN, "5")
    assert not world.materialize(raises=False).success
    assert world.prove().quarantined == 0


@pytest.mark.slow
def test_what_the_first_try_of_a_step_refused_is_taken_back_by_the_next(by_function: World, monkeypatch):
    from sync_pipelines.engine.model import Rejection

    world = by_function
    fill(world, 10)
    with world.resources.ledger.ledger() as ledger:
        first = ledger.begin("shop", "article", mode="full", trigger="manual", run_id="one")
        ledger.quarantine(first, [Rejection(key="k1", reason="bad", stage="map")], fingerprints={})
        again = ledger.begin("shop", "article", mode="full", trigger="manual", run_id="one")
        assert ledger.withdraw(again) == 1


@pytest.mark.slow
def test_what_a_rebuild_would_lose_to_quarantine_is_a_deletion(by_function: World, monkeypatch):
    world = by_function
    fill(world, 300)
    world.sync()
    monkeypatch.setenv(BROKEN, "200")
    world.execute("""UPDATE "Article" SET body = 'changed' WHERE stock >= 200""")
    world.sync(allow_mass_delete=True)
    assert len(world.stored()) == 300  # their old versions
    binding = world.component.bind(world.resources)
    with binding.ledger:
        planned = plan(binding, mode="rebuild")
    assert (planned.deletes, planned.refused is not None) == (101, True)
    result = world.materialize(mode="rebuild", raises=False)
    assert "101 of the target's 300 records would be deleted" in world.failure(result)
    assert len(world.stored()) == 300
    assert world.sync(mode="rebuild", allow_mass_delete=True).deleted == 101
    assert len(world.stored()) == 199


@pytest.mark.slow
def test_a_rebuild_never_puts_an_empty_collection_in_a_full_ones_place(by_function: World, monkeypatch):
    world = by_function
    fill(world, 2)
    world.sync()
    monkeypatch.setenv(BROKEN, "1")
    result = world.materialize(mode="rebuild", raises=False)
    assert "nothing would be left" in world.failure(result)
    assert len(world.stored()) == 2


@pytest.mark.slow
def test_what_a_killed_run_left_in_quarantine_excuses_no_later_one(by_function: World, monkeypatch):
    world = by_function
    fill(world, 300)
    world.sync()
    world.execute(
        """INSERT INTO sync.sync_quarantine (sync_type, table_name, record_key, reason, stage, run_id)
        SELECT 'shop', 'article', id, 'of a run that died', 'map', 'dead' FROM "Article" """
    )
    monkeypatch.setenv(BROKEN, "1")
    assert not world.materialize(mode="full", raises=False).success


@pytest.mark.slow
def test_a_repair_with_a_broken_function_stops_too(by_function: World, monkeypatch):
    world = by_function
    fill(world, 5)
    world.sync()
    world.collection.delete(ids=[f"k{number}" for number in range(1, 6)])
    monkeypatch.setenv(BROKEN, "1")
    assert not repair(world, raises=False).success
    assert "a bug in the user's function" in world.last_run().error
    assert world.prove().missing == 5
