"""A note's page: by stated rules, and nothing of the note is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_pipelines.defs.notes.page import MAX_FILE_BYTES, label_of, page_of
from sync_pipelines.targets.notion.blocks import request_of
from sync_pipelines.targets.notion.mapping import PageMapper
from sync_pipelines.targets.notion.text import (
    BLOCK_BYTES,
    PIECES_A_BLOCK,
    lines_of,
    may_cut,
    original,
    pieces,
    portions,
    units,
    visible,
)
from sync_pipelines_tests.targets.notion.conftest import NOTES, batch_of, note

ANY = st.text(st.characters(exclude_categories=()), max_size=80)
ODD = st.text(
    st.sampled_from("aé\u0301👩\u200d🏽🇩🇪가각\u1100\u1161\u11a8क\u094dष⟨U+\x00\x07\ud800\t\n\r,\u201a"), max_size=60
)


@given(ANY | ODD)
@example("⟨U+0007⟩ and \x07")
@example("⟨⟨U+")
def test_what_is_written_visibly_can_be_undone_and_is_what_json_holds(text: str):
    shown = visible(text)
    assert original(shown) == text
    json.dumps(shown, ensure_ascii=False).encode()
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in shown)


@given(ANY | ODD, st.integers(2, 9))
def test_pieces_give_the_text_back_and_are_as_long_as_they_may_be(text: str, most: int):
    found = pieces(text, most=most)
    assert "".join(found) == text
    assert all(0 < units(piece) <= most for piece in found)
    assert len(found) <= max(1, len(text))


@pytest.mark.parametrize(
    "cluster",
    [
        "e\u0301",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🇩🇪",
        "🏴\U000e0067\U000e0062\U000e007f",
        "1\ufe0f\u20e3",
        "\u1100\u1161\u11a8",
        "क\u094dष",
    ],
)
def test_no_piece_ends_within_what_a_reader_sees_as_one_character(cluster: str):
    assert not any(may_cut(cluster, index) for index in range(1, len(cluster)))
    size = units(cluster)
    found = pieces(cluster * 50, most=size * 3 + 1)
    assert [units(piece) for piece in found] == [size * 3] * 16 + [size * 2]
    assert may_cut(cluster * 2, len(cluster))


def test_a_cluster_longer_than_a_piece_is_cut_between_its_code_points():
    zalgo = "e" + "\u0301" * 5000
    assert [units(piece) for piece in pieces(zalgo)] == [2000, 2000, 1001]


@pytest.mark.parametrize("letter", ["a", "あ", "😀", '"'])
def test_a_portion_is_what_one_block_and_one_request_hold(letter: str):
    text = letter * 450_000
    found = list(portions(text))
    assert "".join(found) == text
    assert len(found) > 1
    for portion in found:
        block = request_of({"type": "paragraph", "text": [{"text": portion}]}, {})
        assert len(block["paragraph"]["rich_text"]) <= PIECES_A_BLOCK
        assert len(json.dumps(block, ensure_ascii=False).encode()) < BLOCK_BYTES + 20_000


@given(ANY | ODD)
def test_a_text_can_be_read_off_its_page(text: str):
    blocks = page_of(note(text=text))["blocks"]
    lines = ["".join(run["text"] for run in block["text"]) for block in blocks]
    assert [original(line) for line in lines] == lines_of(text)


@given(st.lists(st.text(st.sampled_from("ab,\u201a⟨U+ "), min_size=1, max_size=6), max_size=150, unique=True))
def test_no_label_is_lost_and_no_two_become_one(labels: list[str]):
    page = page_of(note(text=None, labels=labels))
    options = page["properties"]["labels"]
    assert len({label_of(label) for label in labels}) == len(labels)
    assert not any("," in option for option in options)
    assert len(options) <= 100
    told = "".join(run["text"] for block in page["blocks"] for run in block["text"])
    assert all(label_of(label) in options or label in told for label in map(str, labels) if visible(label) == label)


def test_links_files_and_people_that_notion_has_no_place_for_are_named():
    url = "https://example.com/" + "x" * 2000
    blocks = page_of(
        note(
            text=None,
            links=[
                {"url": url, "title": "Long", "description": ""},
                {"url": "javascript:x", "title": "", "description": ""},
                {"url": "", "title": "A page", "description": "of no address"},
            ],
            attachments=[{"name": "big.mov", "mime": "video/quicktime", "size": 30 * 2**20, "sha256": "0"}],
            sharees=[{"email": "a@x", "owner": True}, {"email": "b@x", "owner": False}],
        )
    )["blocks"]
    texts = [block["text"][0]["text"] for block in blocks]
    assert texts == [
        f"Long: {url}",
        "javascript:x",
        "A page — of no address",
        "Attachment that was not uploaded: big.mov (video/quicktime, 30.0 MiB; Notion takes 20 MiB here)",
        "Shared with: a@x (owner), b@x",
    ]


def test_an_indented_item_stands_below_the_last_that_is_not_and_the_first_one_at_the_top():
    items = [
        {"text": name, "checked": False, "indent": indent} for name, indent in (("a", 1), ("b", 0), ("c", 1), ("d", 1))
    ]
    blocks = page_of(note(text=None, items=items))["blocks"]
    shape = [(block["text"][0]["text"], [child["text"][0]["text"] for child in block["children"]]) for block in blocks]
    assert shape == [("a", []), ("b", ["c", "d"])]


def test_a_note_that_is_none_is_refused_alone():
    batch = batch_of(note())
    rows = [
        {"_key": key, "_fingerprint": key, "note": text, "_problem": problem}
        for key, text, problem in (("1", "{}", None), ("2", json.dumps(note("2")), None), ("3", "{}", "it is cut"))
    ]
    import pyarrow as pa

    mapped, rejected = PageMapper(page_of, max_file_bytes=MAX_FILE_BYTES).map(
        pa.RecordBatch.from_pylist(rows, schema=NOTES)
    )
    assert mapped.schema == batch.schema
    assert mapped.column("_key").to_pylist() == ["2"]
    assert [(item.key, item.stage) for item in rejected] == [("1", "map"), ("3", "read")]
