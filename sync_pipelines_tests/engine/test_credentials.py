"""The ledger's books on users and on the keys of notes."""

from datetime import timedelta

import pytest

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.note_ids import NoteId

PLACE = ("notes", "pages:ann")


def test_a_user_is_written_down_once(ledger: Ledger) -> None:
    assert ledger.add_user("notes", "ann", config={"a": 1}, secrets=b"sealed")
    assert not ledger.add_user("notes", "ann", config={}, secrets=b"other")
    assert ledger.add_user("diary", "ann", config={}, secrets=b"other")
    (found,) = ledger.users("notes")
    assert (found.name, found.config, found.secrets, found.has_state) == ("ann", {"a": 1}, b"sealed", False)
    assert [user.sync for user in ledger.users()] == ["diary", "notes"]
    assert ledger.user("notes", "bob") is None


def test_a_user_shows_no_secret(ledger: Ledger) -> None:
    ledger.add_user("notes", "ann", config={}, secrets=b"sealed")
    ledger.keep_user_state("notes", "ann", b"known", was=None)
    assert "sealed" not in repr(ledger.users())
    assert "known" not in repr(ledger.user_state("notes", "ann"))


def test_what_is_changed_is_changed_alone(ledger: Ledger) -> None:
    ledger.add_user("notes", "ann", config={"a": 1}, secrets=b"sealed")
    ledger.add_user("notes", "bob", config={}, secrets=b"his")
    before = ledger.user("notes", "ann")
    assert ledger.change_user("notes", "ann", secrets=b"anew")
    assert ledger.change_user("notes", "ann", config={"a": 2})
    assert not ledger.change_user("notes", "cy", config={})
    found, bob = ledger.users("notes")
    assert (found.config, found.secrets, bob.secrets) == ({"a": 2}, b"anew", b"his")
    assert before is not None
    assert found.updated_at > before.updated_at
    assert found.created_at == before.created_at


def test_a_user_goes_with_everything(ledger: Ledger) -> None:
    ledger.add_user("notes", "ann", config={}, secrets=b"sealed")
    assert ledger.remove_user("notes", "ann")
    assert not ledger.remove_user("notes", "ann")
    assert ledger.users() == []
    assert not ledger.keep_user_state("notes", "ann", b"known", was=None)


def test_a_state_is_kept_only_in_the_place_of_what_was_read(ledger: Ledger) -> None:
    ledger.add_user("notes", "ann", config={}, secrets=b"sealed")
    assert ledger.user_state("notes", "ann") is None
    assert ledger.keep_user_state("notes", "ann", b"one", was=None)
    assert ledger.keep_user_state("notes", "ann", b"one", was=None)  # the answer to the first try was lost
    assert not ledger.keep_user_state("notes", "ann", b"two", was=None)
    held = ledger.user_state("notes", "ann")
    assert held is not None
    assert ledger.keep_user_state("notes", "ann", b"two", was=held.mark)
    assert not ledger.keep_user_state("notes", "ann", b"three", was=held.mark)
    assert ledger.user_state("notes", "ann").token == b"two"


def test_all_users_are_sealed_anew_or_none(ledger: Ledger) -> None:
    for name in ("ann", "bob"):
        ledger.add_user("notes", name, config={}, secrets=name.encode())
    ledger.keep_user_state("notes", "ann", b"state", was=None)
    assert ledger.reseal_users(lambda token, _: token.upper()) == 2
    assert [user.secrets for user in ledger.users()] == [b"ANN", b"BOB"]
    assert ledger.user_state("notes", "ann").token == b"STATE"

    def only_ann(token: bytes, name: str) -> bytes:
        if name == "bob":
            raise RuntimeError
        return b"lost"

    with pytest.raises(RuntimeError):
        ledger.reseal_users(only_ann)
    assert [user.secrets for user in ledger.users()] == [b"ANN", b"BOB"]


def note(key: str, created: int, **more) -> NoteId:
    return NoteId(key=key, created=created, signature={"name": f"n{key}"}, **more)


def test_notes_are_found_by_their_millisecond(ledger: Ledger) -> None:
    ledger.keep_note_ids(*PLACE, [note("a", 1_000_000), note("b", 1_000_999), note("c", 1_001_000), note("d", 0)])
    assert [item.key for item in ledger.note_ids(*PLACE, [1000])] == ["a", "b"]
    assert [item.key for item in ledger.note_ids(*PLACE, [0, 1001])] == ["c", "d"]
    assert ledger.note_ids("notes", "pages:bob", [1000]) == []
    assert [item.key for item in ledger.note_ids_of_files(*PLACE, ["nc", "other"])] == ["c"]


def test_a_node_stays_with_its_note_when_an_export_is_read_again(ledger: Ledger) -> None:
    ledger.keep_note_ids(*PLACE, [note("a", 1000, node="1.x")])
    ledger.keep_note_ids(*PLACE, [note("a", 1000)])
    assert ledger.note_ids(*PLACE, [1])[0].node == "1.x"


def test_a_note_is_gone_from_when_that_was_first_found_until_it_comes_back(ledger: Ledger) -> None:
    ledger.keep_note_ids(*PLACE, [note("a", 1000), note("b", 2000)])
    now = ledger.now()
    ledger.note_ids_gone(*PLACE, ["a"], at=now)
    ledger.note_ids_gone(*PLACE, ["a"], at=now + timedelta(hours=1))
    assert ledger.note_ids(*PLACE, [1])[0].gone_at == now
    assert ledger.note_keys_among(*PLACE, ["a", "b", "c"]) == {"b"}
    ledger.keep_note_ids(*PLACE, [note("a", 1000)])
    assert ledger.note_keys_among(*PLACE, ["a", "b"]) == {"a", "b"}


def test_what_was_not_seen_since_a_time_is_gone(ledger: Ledger) -> None:
    ledger.keep_note_ids(*PLACE, [note("a", 1000), note("b", 2000), note("c", 3000)])
    began = ledger.now()
    ledger.keep_note_ids(*PLACE, [note("b", 2000)])
    ledger.note_ids_seen(*PLACE, ["c"])
    ledger.note_ids_unseen(*PLACE, before=began, at=began)
    pages = list(ledger.every_note_id(*PLACE))
    assert [(item.key, item.gone_at) for item in pages[0]] == [("a", began), ("b", None), ("c", None)]


def test_every_note_comes_once_however_many_there_are(ledger: Ledger) -> None:
    ledger.keep_note_ids(*PLACE, [note(str(number), number) for number in range(2500)])
    pages = list(ledger.every_note_id(*PLACE))
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert len({item.key for page in pages for item in page}) == 2500
