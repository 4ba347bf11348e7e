"""Notes of every kind, by exports of every form and by an account: the same notes, under the same keys."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import KEY, PROBLEM, Scope
from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.keep.model import SandboxNote, expected
from sync_pipelines.sandbox.keep.notes import edited_notes, varied_notes
from sync_pipelines.sandbox.keep.server import addresses
from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines.sources.keep.account import AccountOrigin, Client, Login
from sync_pipelines.sources.keep.export import ExportOrigin
from sync_pipelines.sources.keep.source import KeepSource
from sync_pipelines_tests.sources.keep.exports import SPEC

COUNT = 200


def read(origin: Any, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Every note's document, by key."""
    with KeepSource(origin, SPEC, ledger=ledger).changes(Scope(full=True), since=None) as changes:
        rows = [row for batch in changes.upserts for row in batch.to_pylist()]
    assert [row[PROBLEM] for row in rows if row[PROBLEM]] == []
    assert len({row[KEY] for row in rows}) == len(rows)
    return {row[KEY]: json.loads(row["note"]) for row in rows}


def contents(documents: Sequence[dict[str, Any]]) -> Counter[str]:
    """What the notes hold, whichever key they have; an account names attachments otherwise."""
    bare = [{**one, "id": "", "attachments": [item["sha256"] for item in one["attachments"]]} for one in documents]
    return Counter(json.dumps(one, sort_keys=True) for one in bare)


def wanted(notes: Sequence[SandboxNote], *, flat: bool) -> Counter[str]:
    return contents([expected(note, "-", flat=flat) for note in notes])


class Remembered:
    """What is known of an account, for the time of a test."""

    def load(self) -> tuple[None, None]:
        return None, None

    def keep(self, document: Any, *, was: str | None) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "parts", "language"), [("folder", 1, "en"), ("zip", 3, "de"), ("zip", 1, "ar"), ("folder", 3, "ja")]
)
def test_exports_of_every_form_give_the_same_notes(
    tmp_path: Path, ledger: Ledger, form: str, parts: int, language: str
) -> None:
    notes = varied_notes(COUNT)
    made = write_takeout(
        notes, tmp_path, form=form, parts=parts, language=language, other_extension=True, html_pages=True
    )
    found = read(ExportOrigin([str(path) for path in made]), ledger)
    assert contents(list(found.values())) == wanted(notes, flat=True)


def test_edits_of_every_kind_leave_every_note_its_key(tmp_path: Path, ledger: Ledger) -> None:
    notes = varied_notes(COUNT, twins=5)
    before = read(ExportOrigin([str(path) for path in write_takeout(notes, tmp_path / "1")]), ledger)
    edited = edited_notes(notes, share=0.5, delete=False)
    after = read(ExportOrigin([str(path) for path in write_takeout(edited.notes, tmp_path / "2")]), ledger)
    assert contents(list(after.values())) == wanted(edited.notes, flat=True)
    assert set(before) <= set(after)
    assert len(after) == len(edited.notes)
    assert {key: after[key]["created"] for key in before} == {key: before[key]["created"] for key in before}


def test_an_account_gives_what_the_export_gave_and_under_the_same_keys(tmp_path: Path, ledger: Ledger) -> None:
    notes = varied_notes(COUNT, twins=5)
    exported = read(ExportOrigin([str(path) for path in write_takeout(notes, tmp_path)]), ledger)
    with Keep(key="control") as keep:
        token = keep.new_account("ann@example.com")
        keep.put("ann@example.com", *(note.document() for note in reversed(notes)))
        place = addresses(keep.address)
        login = Login(
            sync="notes",
            user="ann",
            email="ann@example.com",
            master_token=token,
            api_url=place["KEEP_API_URL"],
            auth_url=place["KEEP_AUTH_URL"],
            media_url=place["KEEP_MEDIA_URL"],
        )
        live = read(AccountOrigin(Client(login), Remembered()), ledger)
    assert contents(list(live.values())) == wanted(notes, flat=False)
    assert set(live) == set(exported)
    titles = [{key: (one["title"], one["text"]) for key, one in side.items()} for side in (live, exported)]
    assert titles[0] == titles[1]
