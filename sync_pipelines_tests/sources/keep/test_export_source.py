"""Exports as a run and a proof see them."""

import json
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import KEY, PROBLEM, ChangeSet, Counts, Rejection, Scope, Watermark
from sync_pipelines.sources.keep.export import ExportOrigin
from sync_pipelines.sources.keep.model import from_json
from sync_pipelines.sources.keep.parts import Zip
from sync_pipelines.sources.keep.source import KeepSource
from sync_pipelines.sources.keep.takeout import Takeout
from sync_pipelines_tests.sources.keep.exports import FIRST, SPEC, a_note, as_folder, as_zip
from sync_pipelines_tests.spare import spare


class Exported:
    """A user whose export is a folder that a test writes anew."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root, self.ledger, self.number = root, ledger, 0
        self.complete = False

    def put(self, files: Mapping[str, Any]) -> None:
        """Another export in the place of the one before."""
        self.number += 1
        self.folder = as_folder(self.root / f"export-{self.number}", files)

    def source(self, **changes: Any) -> KeepSource:
        origin = ExportOrigin([str(self.folder)], complete=self.complete, user="ann")
        return KeepSource(origin, replace(SPEC, **changes), ledger=self.ledger, spool=self.root / "spool")

    def run(self, since: Watermark | None = None, **scope: Any) -> tuple[dict[str, Any], ChangeSet]:
        """What a run brings: note's title, or problem, by key."""
        changes = self.source().changes(Scope(**scope), since=since)
        return dict(told(changes.upserts)), changes


def told(batches: Any) -> Iterator[tuple[str, str]]:
    for batch in batches:
        for row in batch.to_pylist():
            yield row[KEY], row[PROBLEM] if row["note"] is None else from_json(row["note"]).title


@pytest.fixture
def ann(tmp_path: Path, ledger: Ledger) -> Exported:
    return Exported(tmp_path, ledger)


def test_the_first_run_reads_everything_and_the_next_reads_nothing(
    ann: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.put({"Keep/a.json": a_note(), "Keep/b.json": a_note(title="Salt", createdTimestampUsec=FIRST + 5000)})
    found, changes = ann.run()
    assert found == {str(FIRST): "Bread", str(FIRST + 5000): "Salt"}
    assert (changes.full, changes.reason, changes.rows) == (True, "first run", 2)
    assert ann.source().pending(None).full_reason == "first run"
    assert not ann.source().pending(changes.watermark)
    monkeypatch.setattr(Takeout, "read", lambda self: pytest.fail("the export was read"))
    found, again = ann.run(changes.watermark)
    assert (found, again.full, again.touched, list(again.deletes)) == ({}, False, 0, [])
    assert again.watermark is not None


def test_a_watermark_is_the_same_after_the_ledger(ann: Exported) -> None:
    ann.put({"Keep/a.json": a_note()})
    _, changes = ann.run()
    run = ann.ledger.begin("notes", "pages:ann", mode="full", trigger="cli", run_id="run-1")
    ann.ledger.finish(run, status="completed", counts=Counts(), watermark=changes.watermark)
    kept = ann.ledger.watermark("notes", "pages:ann")
    assert kept == changes.watermark
    assert not ann.source().pending(kept)


def test_another_export_is_read_as_a_whole(ann: Exported) -> None:
    ann.put({"Keep/a.json": a_note()})
    _, first = ann.run()
    ann.put({"Keep/a.json": a_note(title="Bread and salt")})
    assert ann.source().pending(first.watermark).full_reason == "the export is another one than was read last"
    found, changes = ann.run(first.watermark)
    assert (found, changes.full) == ({str(FIRST): "Bread and salt"}, True)


def test_a_note_bears_its_key_and_its_fingerprint_tells_every_change(ann: Exported) -> None:
    ann.put({"Keep/a.json": a_note()})
    rows = [row for batch in ann.run()[1].upserts for row in batch.to_pylist()]
    assert from_json(rows[0]["note"]).id == rows[0]["id"] == rows[0][KEY] == str(FIRST)
    again = [row for batch in ann.run()[1].upserts for row in batch.to_pylist()]
    assert again == rows
    ann.put({"Keep/a.json": a_note(isPinned=True)})
    (pinned,) = [row for batch in ann.run()[1].upserts for row in batch.to_pylist()]
    assert pinned["_fingerprint"] != rows[0]["_fingerprint"]
    other = ann.source(mapping="2").changes(Scope(full=True), since=None)
    assert [row["_fingerprint"] for batch in other.upserts for row in batch.to_pylist()] != [pinned["_fingerprint"]]


def test_notes_of_one_time_keep_their_keys_over_edits_and_deletions(ann: Exported) -> None:
    ann.put({f"Keep/{name}.json": a_note(title=name, textContent=f"text of {name}") for name in "abc"})
    first, _ = ann.run()
    assert sorted(first) == [str(FIRST), f"{FIRST}-2", f"{FIRST}-3"]
    ann.put(
        {
            "Keep/z.json": a_note(title="a, edited", textContent="text of a"),
            "Keep/c.json": a_note(title="c", textContent="text of c"),
        }
    )
    second, _ = ann.run()
    keys = {title: key for key, title in first.items()}
    assert second == {keys["a"]: "a, edited", keys["c"]: "c"}
    ann.put(
        {
            "Keep/n.json": a_note(title="new", textContent="new"),
            "Keep/c.json": a_note(title="c", textContent="text of c"),
        }
    )
    assert ann.run()[0][keys["c"]] == "c"


def test_parts_that_overlap_hold_a_note_once(ann: Exported, tmp_path: Path) -> None:
    one = as_zip(tmp_path / "1.zip", {"Keep/a.json": a_note(), "Keep/b.json": a_note(title="b")})
    two = as_zip(tmp_path / "2.zip", {"Keep/a.json": a_note(), "Keep/c.json": a_note(title="c")})
    source = KeepSource(ExportOrigin([str(one), str(two)]), SPEC, ledger=ann.ledger)
    assert sorted(title for _, title in told(source.changes(Scope(full=True), since=None).upserts)) == [
        "Bread",
        "b",
        "c",
    ]


def test_an_export_that_lacks_a_part_lets_nothing_count_as_deleted_although_it_is_stated_complete(
    ann: Exported, tmp_path: Path
) -> None:
    paths = [as_zip(tmp_path / f"takeout-20260131T091500Z-00{n}.zip", {"Keep/a.json": a_note()}) for n in (1, 3)]
    source = KeepSource(ExportOrigin([*map(str, paths)], complete=True), SPEC, ledger=ann.ledger)
    assert "takeout-20260131T091500Z-002.zip is not there" in (source.absent_stays or "")
    assert "so deletions are not followed" in source.capture_warnings()[0]


def test_the_last_part_of_an_export_is_missed_where_it_was_there_before(ann: Exported, tmp_path: Path) -> None:
    paths = [as_zip(tmp_path / f"takeout-20260131T091500Z-00{n}.zip", {"Keep/a.json": a_note()}) for n in (1, 2)]

    def confirmed() -> str | None:
        source = KeepSource(ExportOrigin([str(tmp_path / "*.zip")], complete=True), SPEC, ledger=ann.ledger)
        changes = source.changes(Scope(full=True), since=None)
        stays = source.absent_stays
        run = ann.ledger.begin("notes", SPEC.name, mode="full", trigger="cli", run_id="run-1")
        ann.ledger.finish(run, status="completed", counts=Counts(), watermark=changes.watermark)
        return stays

    assert confirmed() is None
    away = paths[1].rename(tmp_path / "away")
    for _ in range(2):  # what one run has seen the next one knows still
        assert "takeout-20260131T091500Z-002.zip is not there" in (confirmed() or "")
    away.rename(paths[1])
    assert confirmed() is None
    for path in paths:
        path.rename(tmp_path / path.name.replace("0131", "0228"))
    (tmp_path / "takeout-20260228T091500Z-002.zip").unlink()
    assert confirmed() is None  # of another export nobody knows how many parts it has


@pytest.mark.parametrize("newer", ["1.zip", "2.zip"])
def test_of_a_note_in_two_parts_the_newer_edit_is_taken(ann: Exported, tmp_path: Path, newer: str) -> None:
    for name in ("1.zip", "2.zip"):
        edited = {"title": "newer", "userEditedTimestampUsec": FIRST + 5_000_000} if name == newer else {}
        as_zip(tmp_path / name, {"Keep/a.json": a_note(**edited)})
    source = KeepSource(ExportOrigin([str(tmp_path / "*.zip")]), SPEC, ledger=ann.ledger)
    assert dict(told(source.changes(Scope(full=True), since=None).upserts)) == {str(FIRST): "newer"}


@pytest.mark.parametrize("parts", [("whole", "cut"), ("cut", "whole")])
def test_of_a_note_in_two_parts_the_one_that_can_be_read_is_taken(
    ann: Exported, tmp_path: Path, parts: tuple[str, str]
) -> None:
    files = {"whole": a_note(userEditedTimestampUsec=None), "cut": a_note(isPinned="perhaps")}
    paths = [str(as_zip(tmp_path / f"{number}.zip", {"Keep/a.json": files[part]})) for number, part in enumerate(parts)]
    source = KeepSource(ExportOrigin(paths), SPEC, ledger=ann.ledger)
    assert dict(told(source.changes(Scope(full=True), since=None).upserts)) == {str(FIRST): "Bread"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_notes_whose_files_have_one_name_in_a_zip_are_two_and_of_one_that_was_replaced_the_later_is_taken(
    ann: Exported, tmp_path: Path
) -> None:
    other = a_note(title="Salt", createdTimestampUsec=FIRST + 5000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for document in (a_note(title="Bred"), other, a_note()):
            archive.writestr("Keep/a.json", json.dumps(document))
    source = KeepSource(ExportOrigin([str(tmp_path / "a.zip")]), SPEC, ledger=ann.ledger)
    found = dict(told(source.changes(Scope(full=True), since=None).upserts))
    assert found == {str(FIRST): "Bread", str(FIRST + 5000): "Salt"}


def test_only_a_complete_export_says_what_was_deleted(ann: Exported) -> None:
    ann.put({"Keep/a.json": a_note()})
    source = ann.source()
    assert source.absent_stays == "the export is not stated complete: what it lacks may still be in Keep"
    assert "`sync-pipelines users set ann --complete`" in source.capture_warnings()[0]
    _, changes = ann.run()
    missing = source.changes(Scope(keys=(str(FIRST), "404")), since=changes.watermark)
    assert list(missing.deletes) == []
    ann.complete = True
    assert ann.source().absent_stays is None
    assert ann.source().pending(changes.watermark).full_reason == "the export is stated complete now"
    missing = ann.source().changes(Scope(keys=(str(FIRST), "404")), since=changes.watermark)
    assert (list(missing.deletes), list(dict(told(missing.upserts)))) == ([["404"]], [str(FIRST)])


def test_a_note_that_an_incomplete_export_lacks_is_still_one_of_the_users(ann: Exported) -> None:
    other = str(FIRST + 1_000_000)
    ann.put({"Keep/a.json": a_note(), "Keep/b.json": a_note(createdTimestampUsec=FIRST + 1_000_000)})
    _, changes = ann.run()
    ann.put({"Keep/a.json": a_note()})
    _, changes = ann.run(changes.watermark)
    assert ann.source().named([other])[other].found
    ann.complete = True
    ann.run(changes.watermark)
    assert not ann.source().named([other])[other].found


def test_an_older_export_that_is_left_out_is_told(ann: Exported, tmp_path: Path) -> None:
    for year in (2025, 2026):
        as_zip(tmp_path / f"takeout-{year}0101T000000Z-001.zip", {"Keep/x.json": a_note()})
    source = KeepSource(ExportOrigin([str(tmp_path / "*.zip")], complete=True), SPEC, ledger=ann.ledger)
    told = "of several exports the newest is read, and not takeout-20250101T000000Z-001.zip"
    assert source.capture_warnings() == [told]
    gone = KeepSource(ExportOrigin([str(tmp_path / "gone*.zip")], complete=True), SPEC, ledger=ann.ledger)
    assert gone.capture_warnings() == []
    as_zip(tmp_path / "photos.zip", {"Photos/a.jpg": b""})
    other = KeepSource(ExportOrigin([str(tmp_path / "photos.zip")], complete=True), SPEC, ledger=ann.ledger)
    assert other.capture_warnings() == ["no file of the export can be a note (.json): is it one of Keep?"]


def test_an_empty_complete_export_says_that_it_is_empty(ann: Exported) -> None:
    ann.complete = True
    ann.put({})
    found, changes = ann.run()
    assert (found, changes.full, changes.source_empty, changes.rows) == ({}, True, True, 0)


def test_a_file_that_breaks_keeps_the_key_of_its_note(ann: Exported) -> None:
    ann.complete = True
    ann.put({"Keep/a.json": a_note(), "Keep/b.json": a_note(title="b", createdTimestampUsec=FIRST + 1000)})
    ann.run()
    ann.put({"Keep/a.json": b"{", "Keep/b.json": a_note(title=7, createdTimestampUsec=FIRST + 1000)})
    source = ann.source()
    found = dict(told(source.changes(Scope(full=True), since=None).upserts))
    assert found == {
        str(FIRST): "Keep/a.json: it is no JSON (a file that was cut short?).",
        str(FIRST + 1000): "Keep/b.json: title: a number stands there.",
    }
    assert source.absent_stays is None


def test_a_broken_file_of_which_nothing_is_known_lets_nothing_count_as_deleted(ann: Exported) -> None:
    ann.complete = True
    ann.put({"Keep/a.json": a_note(), "Keep/new.json": b"{"})
    source = ann.source()
    found = dict(told(source.changes(Scope(full=True), since=None).upserts))
    assert found == {str(FIRST): "Bread", "file:new.json": "Keep/new.json: it is no JSON (a file that was cut short?)."}
    assert source.absent_stays == "1 files of the export could not be read, and may be the notes that are missing"


def test_a_renamed_note_and_a_broken_file_of_its_old_name_are_two(ann: Exported) -> None:
    ann.put({"Keep/a.json": a_note()})
    ann.run()
    ann.put({"Keep/a.json": b"{", "Keep/renamed.json": a_note(title="renamed")})
    assert set(ann.run()[0]) == {str(FIRST), "file:a.json"}


def test_a_proof_asks_the_export_itself(ann: Exported) -> None:
    ann.put({f"Keep/{n}.json": a_note(title=str(n), createdTimestampUsec=FIRST + n * 1000) for n in range(20)})
    _, changes = ann.run()
    prints = {row[KEY]: row["_fingerprint"] for batch in changes.upserts for row in batch.to_pylist()}
    source = ann.source()
    with source.at_snapshot() as listing:
        assert listing.count() == 20
        assert {r[KEY]: r["_fingerprint"] for b in listing.fingerprints() for r in b.to_pylist()} == prints
        assert sum(b.num_rows for n in range(4096) for b in listing.fingerprints(buckets={n})) == 20
    key = str(FIRST + 3000)
    assert dict(told(source.values([key, "404"]))) == {key: "3"}
    assert {name: item.found for name, item in source.named([key, "404"]).items()} == {key: True, "404": False}
    assert list(source.pending_keys(changes.watermark)) == []


def test_an_attachment_is_opened_by_key_and_name(ann: Exported) -> None:
    named = [{"filePath": "p.png", "mimetype": "image/png"}, {"filePath": "gone.png", "mimetype": "image/png"}]
    ann.put({"Keep/a.json": a_note(attachments=named), "Keep/p.png": b"picture"})
    source = ann.source()
    with source.changes(Scope(full=True), since=None), source.attachment(str(FIRST), "p.png") as file:
        assert file.read() == b"picture"
    with source.attachment(str(FIRST), "p.png") as file:  # after the run, too
        assert file.read() == b"picture"
    with (
        pytest.raises(RecordError, match=r"'gone\.png' are not in the source"),
        source.attachment(str(FIRST), "gone.png"),
    ):
        pass
    with pytest.raises(RecordError), source.attachment("404", "p.png"):
        pass


def test_threads_open_attachments_at_once_and_a_zip_is_opened_once_for_all(
    ann: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p{number}.png" for number in range(12)]
    named = [{"filePath": name, "mimetype": "image/png"} for name in names]
    files = {f"Keep/{name}": name.encode() for name in names}
    path = as_zip(tmp_path / "a.zip", {"Keep/a.json": a_note(attachments=named), **files})
    source = KeepSource(ExportOrigin([str(path)]), SPEC, ledger=ann.ledger, spool=tmp_path / "spool")
    opened: list[Path] = []
    reading = Zip.reading
    monkeypatch.setattr(Zip, "reading", lambda part: opened.append(part.path) or reading(part))

    def content(name: str) -> bytes:
        with source.attachment(str(FIRST), name) as file:
            return file.read()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(content, names)) == [name.encode() for name in names]
    assert len(opened) == 2  # for the notes, and for all attachments
    source.forget()
    as_zip(path, {"Keep/a.json": a_note(attachments=named), **files, f"Keep/{names[0]}": b"another"})
    assert content(names[0]) == b"another"
    source.forget()


def test_a_closed_run_leaves_no_file(ann: Exported, tmp_path: Path) -> None:
    ann.put({"Keep/a.json": a_note()})
    source = ann.source()
    with source.changes(Scope(), since=None) as changes:
        assert list((tmp_path / "spool").glob("*/*.arrow"))
    with source.changes(Scope(also=(str(FIRST),)), since=changes.watermark) as again:
        assert dict(told(again.upserts)) == {str(FIRST): "Bread"}
    assert not list((tmp_path / "spool").glob("changes-*"))


def test_what_the_target_refused_is_tried_at_the_next_sync_and_nothing_else_is_read(ann: Exported) -> None:
    ann.put({f"Keep/{n}.json": a_note(title=str(n), createdTimestampUsec=FIRST + n * 1000) for n in range(3)})
    _, first = ann.run()
    run = ann.ledger.begin("notes", "pages:ann", mode="incremental", trigger="cli", run_id="run-1")
    stages = {str(FIRST): "write", str(FIRST + 1000): "read"}
    refused = [Rejection(key=key, reason="no", stage=stage) for key, stage in stages.items()]
    ann.ledger.quarantine(run, refused)
    found, again = ann.run(first.watermark)
    assert (found, again.full) == ({str(FIRST): "0"}, False)
    ann.ledger.drop_quarantined("notes", "pages:ann", [str(FIRST)])
    assert ann.run(first.watermark)[0] == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [8_000, *spare(20_000)])
def test_an_export_of_many_notes_is_read_in_little_memory(tmp_path: Path, ledger: Ledger, number: int) -> None:
    text = "line of a note, of which there are many\n" * 100
    notes = {
        f"Takeout/Keep/{n}.json": a_note(title=str(n), textContent=text, createdTimestampUsec=FIRST + n * 1000)
        for n in range(number)
    }
    path = as_zip(tmp_path / "a.zip", notes)
    del notes
    source = KeepSource(ExportOrigin([str(path)]), SPEC, ledger=ledger, spool=tmp_path)
    tracemalloc.start()
    with source.changes(Scope(full=True), since=None) as changes:
        assert sum(batch.num_rows for batch in changes.upserts) == changes.rows == number
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000 * number  # the texts alone are 4,000 a note; a zip's own directory takes 1,000
