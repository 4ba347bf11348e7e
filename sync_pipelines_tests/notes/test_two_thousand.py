"""An export of varied notes: synced, synced again without a write, edited in every way, and equal page by page."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pytest

from sync_pipelines.defs.notes.page import page_of
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.model import KEY, Counts, Scope
from sync_pipelines.engine.proof import prove_and_record
from sync_pipelines.sandbox.keep.model import SandboxNote, expected
from sync_pipelines.sandbox.keep.notes import EDITS, edited_notes, varied_notes
from sync_pipelines_tests.notes.study import Study, document, note
from sync_pipelines_tests.spare import spare

LOOK = {"blocks.children.list"}
READS = {"data_sources.query", "data_sources.retrieve", "users.me"}


class Ann:
    """A user with an export, and what her runs ask of Notion."""

    def __init__(self, study: Study, notes: Sequence[SandboxNote]) -> None:
        self.study, self.table = study, document().for_user("ann")
        self.workspace = study.add("ann", notes)

    def run(self, *, full: bool = False) -> tuple[Counts, Counter[str]]:
        """One run, and the requests that it made, by endpoint."""
        self.workspace.advance(61)
        self.workspace.clear_requests()
        mode = "full" if full else "incremental"
        request = engine.Request(mode=mode, scope=Scope(full=full), trigger="test", run_id=str(uuid.uuid4()))
        binding = self.table.bind(self.study.resources)
        counts = engine.write(engine.open_run(binding, request))
        binding.close()
        return counts, Counter(asked["endpoint"] for asked in self.workspace.requests())

    def pages(self) -> Counter[str]:
        """What stands on every page that is not marked as deleted, by what it holds."""
        binding = self.table.bind(self.study.resources)
        keys = [key for batch in binding.target.fingerprints() for key in batch.column(KEY).to_pylist()]
        found = [row["page"] for batch in binding.target.values(keys) for row in batch.to_pylist()]
        binding.close()
        return Counter(_told(json.loads(page)) for page in found)

    def confirmed(self) -> int | None:
        """How many pages the last run has left, as its watermark says."""
        binding = self.table.bind(self.study.resources)
        since = binding.ledger.watermark("notes", "pages:ann")
        binding.close()
        return since.records if since is not None else None

    def is_equal(self, kind: Literal["quick", "deep"] = "deep") -> bool:
        self.workspace.advance(61)
        binding = self.table.bind(self.study.resources)
        proof = prove_and_record(binding, kind)
        binding.close()
        return proof.equal


def _told(page: dict[str, Any]) -> str:
    """A page without the names of its files, of which an export makes others where two are the same."""
    blocks = [{**block, "name": ""} if "sha256" in block else block for block in page["blocks"]]
    return json.dumps({**page, "blocks": blocks}, sort_keys=True)


def wanted(notes: Iterable[SandboxNote]) -> Counter[str]:
    """What the pages of these notes shall hold, as the mapper alone says."""
    return Counter(_told(page_of(expected(note, "-", flat=True))) for note in notes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [80, *spare(2000)])
def test_varied_notes_are_synced_edited_in_every_way_and_equal_page_by_page(study: Study, count: int) -> None:
    notes = varied_notes(count, twins=3)
    ann = Ann(study, notes)
    counts, asked = ann.run()
    assert (counts.upserted, counts.quarantined) == (count, 0)
    assert asked["pages.create"] == count
    assert sum(asked.values()) < 2 * count
    assert ann.pages() == wanted(notes)
    for full, reads in ((False, READS), (True, READS | LOOK), (True, READS)):  # what several requests made is read once
        counts, asked = ann.run(full=full)
        assert (counts.upserted, set(asked) - reads) == (0, set())
    edited = edited_notes(notes, share=0.4)
    assert set(edited.kinds.values()) == set(EDITS)
    study.export("ann", edited.notes)
    counts, asked = ann.run()
    changed = len(edited.kinds) - len(edited.removed)
    assert (counts.deleted, counts.quarantined) == (len(edited.removed), 0)
    assert edited.added <= counts.upserted <= changed + edited.added
    assert asked["pages.create"] == edited.added
    assert ann.pages() == wanted(edited.notes)
    assert ann.is_equal()  # which reads every page
    counts, asked = ann.run(full=True)
    assert (counts.upserted, set(asked) - READS) == (0, set())
    hundreds = -(-len(edited.notes) // 100)
    assert asked["data_sources.query"] <= (2 + 2) * hundreds  # the listing twice, and the pages of 50 notes at a time


@pytest.mark.slow
def test_a_run_without_news_lists_the_pages_once_and_one_that_wrote_counts_them_anew(study: Study) -> None:
    notes = [note(number) for number in range(3)]
    ann = Ann(study, notes)
    for _ in range(2):
        ann.run()
    assert ann.run()[1]["data_sources.query"] == 1
    assert ann.run(full=True)[1]["data_sources.query"] == 3  # a count, the pages of 100 notes at a time, a comparison
    assert ann.confirmed() == 3
    study.export("ann", [*notes, note(3)])
    ann.run()
    assert ann.confirmed() == 4
    study.export("ann", [*notes[1:], note(3)])
    ann.run()
    assert ann.confirmed() == 3


def test_a_proof_lists_the_pages_once(study: Study) -> None:
    ann = Ann(study, [note(number) for number in range(3)])
    ann.run()
    ann.workspace.clear_requests()
    assert ann.is_equal("quick")
    assert [asked["endpoint"] for asked in ann.workspace.requests()].count("data_sources.query") == 1
