"""Live accounts as a run and a proof see them: gkeepapi against the stand-in of Keep."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.vault import Vault
from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxLine, SandboxLink, SandboxNote, expected
from sync_pipelines.sources.keep.account import Client
from sync_pipelines.sources.keep.export import ExportOrigin
from sync_pipelines.sources.keep.source import KeepSource
from sync_pipelines_tests.sources.keep.exports import FIRST, SPEC, a_note, as_folder
from sync_pipelines_tests.sources.keep.live import EMAIL, PICTURE, Live, documents, note


@pytest.mark.slow
def test_everything_of_a_note_arrives(ann: Live) -> None:
    full = note(
        items=(
            SandboxLine(text="milk"),
            SandboxLine(text="of oats", checked=True, indent=1),
            SandboxLine(text="of rice", indent=1),
            SandboxLine(text="bread", checked=True),
        ),
        labels=("b", "a"),
        color="CERULEAN",
        pinned=True,
        archived=True,
        trashed=True,
        links=(SandboxLink(url="https://a.example", title="A", description="of a"),),
        files=(PICTURE, SandboxFile(name="s.3gp", mime="audio/3gpp", content=b"sound")),
        sharees=("z@example.com", EMAIL),
    )
    plain = SandboxNote(created=FIRST + 9000, text="two\nlines")
    ann.put(full, plain)
    found, changes = ann.run()
    key = str(FIRST)
    names = [item["name"] for item in found[key]["attachments"]]
    assert found == {
        key: expected(full, key, names=names),
        str(FIRST + 9000): expected(plain, str(FIRST + 9000)),
    }
    assert (changes.full, changes.reason) == (True, "first run")
    assert [name.rpartition(".")[2] for name in names] == ["png", "3gp"]


def test_an_incremental_run_brings_what_changed_alone(ann: Live) -> None:
    ids = ann.put(note(0, text="a"), note(1, text="b"), note(2, text="c"))
    _, first = ann.run()
    found, nothing = ann.run(first.watermark)
    assert (found, nothing.full, list(nothing.deletes)) == ({}, False, [])
    ann.put(note(1, text="b, edited"), ids=[ids[1]])
    found, second = ann.run(nothing.watermark)
    assert {key: item["text"] for key, item in found.items()} == {str(FIRST + 1000): "b, edited"}
    assert ann.run(second.watermark)[0] == {}


def test_a_drawing_that_was_drawn_over_without_a_new_id_is_another_file(ann: Live, keep: Keep) -> None:
    ids = ann.put(note(files=(PICTURE,)))
    _, first = ann.run()
    over = replace(PICTURE, content=b"a picture, and more of it")
    ann.put(note(files=(over,)), ids=[ids[0]])
    found, second = ann.run(first.watermark)
    assert [item["sha256"] for item in found[str(FIRST)]["attachments"]] == [over.sha256]
    keep.clear_seen()
    ann.put(note(files=(over,), text="a word"), ids=[ids[0]])
    (again,) = ann.run(second.watermark)[0].values()
    assert [item["sha256"] for item in again["attachments"]] == [over.sha256]
    assert "media" not in keep.seen()["endpoints"]


def test_what_a_failed_run_has_read_is_brought_again(ann: Live) -> None:
    ids = ann.put(note(0, text="a"))
    _, first = ann.run()
    ann.put(note(0, text="edited"), ids=[ids[0]])
    assert list(ann.run(first.watermark)[0]) == list(ann.run(first.watermark)[0]) == [str(FIRST)]


def test_the_next_look_asks_for_what_changed_and_sends_nothing(ann: Live, keep: Keep) -> None:
    keep.page_size(EMAIL, 10)
    ann.put(*(note(number) for number in range(30)))
    _, first = ann.run()
    assert ann.asked() > 5
    before = keep.notes(EMAIL)
    ann.run(first.watermark)
    assert ann.asked() == 1
    assert keep.notes(EMAIL) == before


def test_what_is_deleted_for_good_is_a_delete_until_a_run_has_confirmed_it(ann: Live, keep: Keep) -> None:
    ids = ann.put(note(0), note(1), note(2))
    _, first = ann.run()
    keep.delete(EMAIL, ids[1])
    for _ in range(2):
        found, second = ann.run(first.watermark)
        assert (found, list(second.deletes)) == ({}, [[str(FIRST + 1000)]])
    assert list(ann.source().pending_keys(first.watermark)) == [[str(FIRST + 1000)]]
    _, third = ann.run(second.watermark)
    assert list(third.deletes) == []
    assert not third.source_empty
    keep.delete(EMAIL, ids[0], ids[2])
    _, last = ann.run(third.watermark)
    assert (sum(map(len, last.deletes)), last.source_empty) == (2, True)


def test_a_note_that_was_trashed_is_none_that_was_deleted(ann: Live) -> None:
    ids = ann.put(note(0))
    _, first = ann.run()
    ann.put(note(0, trashed=True), ids=[ids[0]])
    found, second = ann.run(first.watermark)
    assert (found[str(FIRST)]["trashed"], list(second.deletes)) == (True, [])


def test_a_renamed_label_changes_the_notes_that_bear_it(ann: Live, keep: Keep) -> None:
    ann.put(note(0, labels=("food",)), note(1, labels=("work",)))
    _, first = ann.run()
    keep.rename_label(EMAIL, "food", "meals")
    found, second = ann.run(first.watermark)
    assert {key: item["labels"] for key, item in found.items()} == {str(FIRST): ["meals"]}
    keep.delete_label(EMAIL, "work")
    found, _ = ann.run(second.watermark)
    assert {key: item["labels"] for key, item in found.items()} == {str(FIRST + 1000): []}


def test_lines_that_go_and_come_change_their_note(ann: Live) -> None:
    lines = tuple(SandboxLine(text=text) for text in "abc")
    ids = ann.put(note(0, items=lines))
    _, first = ann.run()
    ann.put(note(0, items=lines[:1]), ids=[ids[0]])
    found, second = ann.run(first.watermark)
    assert [item["text"] for item in found[str(FIRST)]["items"]] == ["a"]
    ann.put(note(0, items=lines), ids=[ids[0]])
    found, _ = ann.run(second.watermark)
    assert [item["text"] for item in found[str(FIRST)]["items"]] == ["a", "b", "c"]


def test_where_keep_wants_all_to_be_read_again_it_is(ann: Live, keep: Keep) -> None:
    ids = ann.put(note(0), note(1))
    _, first = ann.run()
    keep.delete(EMAIL, ids[0])
    keep.resync(EMAIL)
    found, second = ann.run(first.watermark)
    assert (second.full, list(found)) == (True, [str(FIRST + 1000)])
    assert second.reason == "what was remembered of the account is not what was read last"
    keep.resync(EMAIL, wanted=False)
    assert ann.run(second.watermark)[0] == {}


def test_a_full_run_believes_nothing_that_is_remembered(ann: Live) -> None:
    ids = ann.put(note(0), note(1))
    _, first = ann.run()
    states = ann.states()
    kept, mark = states.load()
    assert kept is not None
    del kept["nodes"][ids[0]], kept["changed"][ids[0]]
    assert states.keep(kept, was=mark)
    found, full = ann.run(first.watermark, full=True)
    assert (len(found), full.full) == (2, True)
    assert not ann.run(full.watermark)[1].full


def test_where_the_state_is_lost_everything_is_read(ann: Live) -> None:
    ann.put(note(0))
    _, first = ann.run()
    state = ann.ledger.user_state("notes", "ann")
    assert state is not None
    ann.ledger.keep_user_state("notes", "ann", None, was=state.mark)
    found, second = ann.run(first.watermark)
    assert (second.full, list(found)) == (True, [str(FIRST)])


def test_what_a_run_keeps_of_an_account_from_which_its_user_was_moved_is_nothing_to_the_next(
    ann: Live, keep: Keep
) -> None:
    token = keep.new_account("other@example.com")
    keep.put("other@example.com", note(1, text="of the other").document())
    ann.put(note(0))
    _, first = ann.run()  # `users set --account` cleared what was known before this run kept it
    source = ann.source(email="other@example.com", master_token=token)
    second = source.changes(Scope(), since=first.watermark)
    assert (second.full, list(documents(second.upserts))) == (True, [str(FIRST + 1000)])
    again = ann.source(email="other@example.com", master_token=token).changes(Scope(), since=second.watermark)
    assert (again.full, documents(again.upserts)) == (False, {})


def test_what_changed_after_a_state_that_was_put_back_is_brought(ann: Live) -> None:
    one, other = ann.put(note(0), note(1))
    _, first = ann.run()
    state = ann.ledger.user_state("notes", "ann")
    assert state is not None
    older = state.token
    ann.put(note(0, text="new"), ids=[one])
    _, second = ann.run(first.watermark)
    state = ann.ledger.user_state("notes", "ann")
    assert state is not None
    ann.ledger.keep_user_state("notes", "ann", older, was=state.mark)
    ann.put(note(1, text="newer"), ids=[other])
    found, _ = ann.run(second.watermark)
    assert found[str(FIRST + 1000)]["text"] == "newer"


def test_the_state_is_sealed(ann: Live) -> None:
    ann.put(note(0, text="my diary"))
    ann.run()
    state = ann.ledger.user_state("notes", "ann")
    assert state is not None
    assert "my diary" in json.dumps(ann.vault.open(state.token, what="x"))
    assert b"diary" not in state.token
    ann.vault = Vault(Fernet.generate_key().decode())
    with pytest.raises(ConfigurationError, match="what is known of the account of user 'ann': no key"):
        ann.run()


def test_two_processes_lose_none_of_what_either_has_read(ann: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ann.put(note(0), note(1))
    _, first = ann.run()
    ann.put(note(0, text="edited"), ids=[ids[0]])
    slow, quick = ann.source(), ann.source()
    read = Client.read

    def overtaken(client: Client, mirror: Any) -> Any:
        found = read(client, mirror)
        monkeypatch.setattr(Client, "read", read)
        ann.put(note(1, text="edited, too"), ids=[ids[1]])
        with quick.at_snapshot() as listing:
            assert listing.count() == 2
        return found

    monkeypatch.setattr(Client, "read", overtaken)
    changes = slow.changes(Scope(), since=first.watermark)
    assert {item["text"] for item in documents(changes.upserts).values()} == {"edited", "edited, too"}


def test_one_odd_node_is_one_problem(ann: Live, keep: Keep) -> None:
    ids = ann.put(note(0), note(1))
    keep._accounts[EMAIL].nodes[ids[0]]["color"] = "MAUVE"
    keep._accounts[EMAIL].nodes[ids[1]]["labelIds"] = 5
    found, _ = ann.run()
    assert "color: one of DEFAULT" in found[str(FIRST)]
    assert "its nodes have another form" in found[str(FIRST + 1000)]


def test_moving_from_an_export_to_an_account_doubles_nothing(ann: Live) -> None:
    shared = [note(0, text="one"), replace(note(0, text="two"), title="another"), note(3, text="three")]
    exported = {
        f"Keep/{n}.json": a_note(
            title=item.title,
            textContent=item.text,
            createdTimestampUsec=item.created,
            userEditedTimestampUsec=item.edited,
        )
        for n, item in enumerate(shared)
    }
    export = ExportOrigin([str(as_folder(ann.root / "export", exported))])
    first = KeepSource(export, SPEC, ledger=ann.ledger).changes(Scope(), since=None)
    before = documents(first.upserts)
    ann.put(*reversed(shared))
    after, second = ann.run(first.watermark)
    assert after == before
    assert (second.full, second.reason) == (True, "the notes come from an account now")
    prints = [[row["_fingerprint"] for batch in run.upserts for row in batch.to_pylist()] for run in (first, second)]
    assert sorted(prints[0]) == sorted(prints[1])
    back = KeepSource(export, SPEC, ledger=ann.ledger).changes(Scope(), since=second.watermark)
    assert (documents(back.upserts), back.reason) == (before, "the notes come from an export now")
    parts = {"takeout-20260131T091500Z-": 2}  # whoever goes back is still told that the last one is away
    assert ann.source().origin.lasting({"parts": parts}, second.watermark.position)["parts"] == parts


def test_a_note_of_the_export_that_the_account_lacks_is_a_delete(ann: Live) -> None:
    export = ExportOrigin([str(as_folder(ann.root / "export", {"Keep/a.json": a_note()}))])
    first = KeepSource(export, SPEC, ledger=ann.ledger).changes(Scope(), since=None)
    ann.put(note(7))
    found, second = ann.run(first.watermark)
    assert (list(found), second.full) == ([str(FIRST + 7000)], True)
    assert ann.source().absent_stays is None
    assert ann.source().named([str(FIRST)])[str(FIRST)].found is False


def test_an_account_is_due_an_hour_after_it_was_asked(ann: Live) -> None:
    ann.put(note(0))
    source = ann.source()
    assert source.pending(None).full_reason == "first run"
    _, first = ann.run()
    assert first.watermark is not None
    assert not source.pending(first.watermark)
    late = replace(first.watermark, taken_at=datetime.now(UTC) - timedelta(hours=2))
    assert source.pending(late).changes == 1
    _, nothing = ann.run(first.watermark)
    assert nothing.touched == 1  # so that the watermark moves, and the next hour begins


def test_a_proof_asks_the_account_itself_and_what_it_finds_is_pending(ann: Live) -> None:
    ids = ann.put(note(0), note(1))
    _, first = ann.run()
    ann.put(note(1, text="edited"), note(2), ids=[ids[1], None])
    source = ann.source()
    with source.at_snapshot() as listing:
        assert listing.count() == 3
    pending = sorted(itertools.chain.from_iterable(source.pending_keys(first.watermark)))
    assert pending == [str(FIRST + 1000), str(FIRST + 2000)]
    assert source.full_read(first.watermark) is None
    found, _ = ann.run(first.watermark)
    assert sorted(found) == pending
