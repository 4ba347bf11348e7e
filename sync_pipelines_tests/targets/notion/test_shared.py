"""A listing that several questions share: each is answered as if it had asked for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.targets.notion import shared
from sync_pipelines.targets.notion.shared import SharedListings
from sync_pipelines_tests.targets.notion.conftest import Desk, note


@pytest.fixture
def sharing(desk: Desk, tmp_path: Path) -> Desk:
    """Four notes, of which one is deleted and one has two pages."""
    desk.bring(*(note(key) for key in "1234"))
    desk.target.delete(["1"])
    (second,) = desk.target.pages.named(["2"])
    desk.hands.duplicate_page(second.id)
    desk.later()
    desk.prints()  # what was edited lately is read once
    desk.target.shared = SharedListings("a run", tmp_path).of("notes/pages:ann")
    desk.forget()
    return desk


def answers(desk: Desk) -> tuple[Any, ...]:
    return desk.prints(), desk.target.count(), {key: len(copies) for key, copies in desk.target.doubles().items()}


def test_one_listing_tells_each_who_shares_it_what_its_own_would(sharing: Desk):
    told = answers(sharing)
    assert sharing.requests() == ["data_sources.query"]
    assert (sorted(told[0]), *told[1:]) == (["2", "3", "4"], 3, {"2": 1})
    sharing.target.shared = None
    assert answers(sharing) == told


def test_a_listing_that_was_not_read_to_its_end_or_is_old_serves_nobody(sharing: Desk, monkeypatch: pytest.MonkeyPatch):
    next(sharing.target._listed())
    assert sharing.target.count() == 3
    assert sharing.requests() == ["data_sources.query"] * 2
    monkeypatch.setattr(shared, "LONGEST_SHARED", 0.0)
    assert sharing.target.count() == 3
    assert sharing.requests() == ["data_sources.query"] * 3
