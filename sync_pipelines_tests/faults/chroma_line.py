"""The line of PostgreSQL → Chroma: its systems behind proxies, its moments, and the cells that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.registry import BoundTable
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.boundaries import bend
from sync_pipelines_tests.faults.equality import assert_equal, items
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Ended, Moment, Table, strike
from sync_pipelines_tests.faults.provider import Provider
from sync_pipelines_tests.faults.shop import words
from sync_pipelines_tests.faults.systems import System

DIMENSIONS = 64
POISON = "poison"
DIFFERENCES = 25
GROUP = 10
"""Records that are embedded and written together here; a fault may cost one group's embeddings, no more."""

_FILL = f"""INSERT INTO "Article" SELECT 'k' || lpad(n::text, 2, '0'), '{{"en": "old"}}', {words("'k' || n")}, 0
    FROM generate_series(0, 49) n"""
_CHANGE = (
    f"""INSERT INTO "Article" SELECT 'n' || n, '{{"en": "new"}}', {words("'n' || n")}, 1
    FROM generate_series(10, 39) n""",
    """UPDATE "Article" SET body = 'changed ' || body WHERE id < 'k10'""",
    """DELETE FROM "Article" WHERE id BETWEEN 'k45' AND 'k50'""",
)

MOMENTS = {
    "source read": Moment("sync", ("reading", 1), "source"),
    "embedding": Moment("sync", ("heads", 1), "provider"),
    "target write": Moment("sync", ("embedded", 2), "target"),
    "delete": Moment("sync", ("before delete", 1), "target"),
    "confirm": Moment("sync", ("closing", 1), "ledger"),
    "check: source": Moment("check", ("reading", 1), "source"),
    "check: target": Moment("check", ("comparing", 1), "target"),
    "check: embedding": Moment("check", ("searching", 1), "provider"),
    "check: ledger": Moment("check", ("proving", 1), "ledger"),
    # a repair looks first, by the very calls of a check; then it reads anew what it writes
    "repair: source read": Moment("repair", ("mending", 1), "source"),
    "repair: embedding": Moment("repair", ("mending", 1), "provider"),
    "repair: target write": Moment("repair", ("embedded", 1), "target"),
    "repair: delete": Moment("repair", ("before delete", 1), "target"),
    "repair: ledger": Moment("repair", ("proving", 1), "ledger"),
}

_KILLED = "faults/test_killed_runs.py::"

TABLE = Table(
    moments=MOMENTS,
    outcomes={
        # only writing is forbidden: it is read, and the source's own note of it is left out
        ("source read", "read-only"): "recovers",
        ("check: source", "read-only"): "recovers",
        ("repair: source read", "read-only"): "recovers",
        # reading needs no room
        ("check: target", "disk full"): "recovers",
    },
    elsewhere={
        **{(b, KILLED_RUN): f"{_KILLED}test_an_incremental_run_that_is_killed" for b in list(MOMENTS)[:5]},
        **{
            (b, KILLED_RUN): f"{_KILLED}test_a_check_that_is_killed_says_nothing_and_the_next_one_is_right"
            for b in MOMENTS
            if b.startswith("check")
        },
        **{
            (b, KILLED_RUN): f"{_KILLED}test_a_repair_that_is_killed_is_ended_by_the_next_one"
            for b in MOMENTS
            if b.startswith("repair")
        },
    },
    impossible={},
    impossible_for={
        ("source", "resets until given up"): "a source is asked once in each try of a step: as 'reset in a request'",
        ("provider", "killed server"): "the provider is a stand-in in the test's process; 'refused' also resets what "
        "is open, which is all that a killed one shows",
        ("provider", "disk full"): "a provider keeps nothing",
        ("provider", "lock time-out"): "a provider locks nothing",
        ("provider", "read-only"): "a provider is not written to",
        ("target", "read-only"): "Chroma 1.5.9 does not start over a read-only folder (it panics), and one that runs "
        "does not notice; a refusal by a proxy (403) is tested in targets/test_chroma_client.py",
    },
)


@dataclass
class ChromaLine:
    """The sync of the table Article.

    Args:
        world: its database (the server's own address), Chroma, and component.
        systems: `source`, `ledger`, `target`, `provider`, each behind its proxy.
        patch: bends the run's boundaries for as long as a fault may strike.
    """

    world: World
    systems: dict[str, System]
    provider: Provider
    patch: pytest.MonkeyPatch
    _action: Action = field(init=False, default="sync")
    _made: Counter[str] = field(init=False, default_factory=Counter)

    def arrange(self, action: Action) -> int:
        """Fifty articles in batches of ten, and one in quarantine; then changes, or tampering."""
        self._action, world = action, self.world
        world.execute(_FILL)
        world.put(POISON)
        world.execute("""UPDATE "Article" SET "updatedAt" = 'infinity' WHERE id = %s""", POISON)
        counts = self._sync_without_dagster()
        assert (counts.upserted, counts.quarantined) == (50, 1)
        if action == "sync":
            self._change()
        else:
            self._tamper()
        self._made.clear()
        return DIFFERENCES if action == "check" else 0

    def _sync_without_dagster(self) -> Counts:
        """The first sync, before any fault: Dagster and its checks would take as long again."""
        binding = BoundTable(self.world.component, self.world.resources).binding()
        first = engine.Request(mode="incremental", scope=Scope(), trigger="test", run_id=str(uuid4()))
        return engine.write(engine.open_run(binding, first))

    def _change(self) -> None:
        for statement in _CHANGE:
            self.world.execute(statement)

    def _tamper(self) -> None:
        """Ten are gone, ten edited, five strangers came: `DIFFERENCES`."""
        collection = self.world.collection
        collection.delete(ids=[f"k{number:02d}" for number in range(10)])
        edited = [f"k{number:02d}" for number in range(10, 20)]
        collection.update(ids=edited, documents=["edited"] * 10, embeddings=_elsewhere(10))
        strangers = [f"stranger {number}" for number in range(5)]
        collection.add(ids=strangers, documents=strangers, embeddings=_elsewhere(5))

    @contextmanager
    def striking(self, moment: Moment, fault: str) -> Iterator[None]:
        with self.patch.context() as patch, strike(self.systems, moment, fault) as reach:
            bend(reach, patch.setattr)
            yield

    def act(self, action: Action) -> Ended:
        if action == "sync":
            before = Counter(self.provider.asked)  # a deep proof embeds too: its sample is searched for
            ended = _ended(self.world.materialize(raises=False))
            self._made += self.provider.asked - before
            return ended
        if action == "check":
            return _ended(self._job("shop_check_deep"))
        config = {"ops": {"shop_repair_tables": {"config": {"table": "article", "deep": True}}}}
        return _ended(self._job("shop_repair", run_config=config))

    def _job(self, name: str, **options: Any) -> dg.ExecuteInProcessResult:
        job = definitions(self.world.component).resolve_job_def(name)
        return job.execute_in_process(instance=self.world.instance, raise_on_error=False, **options)

    def confirmed(self) -> Any:
        if self._action == "sync":
            return self.world.watermark()
        with self.world.resources.ledger.ledger() as ledger:
            proofs = [ledger.last_proof("shop", "article", kind) for kind in ("deep", "quick")]
            return [proof and proof.finished_at for proof in proofs]

    def budgets(self) -> Any:
        """Attempts, without those of runs that read everything: each tries what is in quarantine.

        The ledger's outage at the last moment has one as its consequence: the target's stamp is ahead of it.
        """
        with self.world.resources.ledger.ledger() as ledger:
            whole = sum(run.status == "completed" and bool(run.reason) for run in self.world.logs())
            records = [(record.key, record.attempts - whole) for record in ledger.list_quarantine("shop", "article")]
            return records, {(event.key, event.event) for event in ledger.record_events("shop", "article")}

    def assert_equal(self) -> None:
        assert_equal(self.world, besides=[POISON])
        ids = [name for name, *_ in items(self.world.collection)]
        assert len(ids) == len(set(ids))
        proof = BoundTable(self.world.component, self.world.resources).prove("deep")
        assert proof.equal, proof
        assert proof.quarantined == 1

    def assert_made_once(self) -> None:
        if self._action == "sync":
            again = [text for text, times in self._made.items() if times > 1]
            assert len(again) <= GROUP, self._made
            assert len(self._made) == 40


def _elsewhere(number: int) -> list[list[float]]:
    """So many vectors that no text has."""
    return [[1.0] * DIMENSIONS] * number


def _ended(result: dg.ExecuteInProcessResult) -> Ended:
    differences = _differences(result)
    if result.success:
        return Ended(ok=True, differences=differences)
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failures, "a run that fails says why"
    said = failures[0].user_failure_data and failures[0].user_failure_data.description
    error = failures[0].error
    return Ended(ok=False, said=said or str(error and (error.cause or error)), differences=differences)


def _differences(result: dg.ExecuteInProcessResult) -> int | None:
    """What the check that looks deepest has found; None where none spoke."""
    found = {one.check_name: one.metadata for one in result.get_asset_check_evaluations()}
    metadata = found.get("deep") or found.get("content")
    return metadata and sum(int(metadata[kind].value) for kind in ("missing", "stale", "extra"))
