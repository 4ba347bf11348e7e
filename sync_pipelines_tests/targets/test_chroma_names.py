"""Record ids, reserved fields, names of collections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.chroma.client import ChromaAddress
from sync_pipelines.targets.chroma.names import check_field_name, chunk_id, is_ours, parse_id
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines_tests.targets.chroma_helpers import Doc, put
from sync_pipelines_tests.targets.conftest import MakeTarget

keys = st.text(alphabet=st.sampled_from("#1a é\n"), max_size=8)
chunks = st.integers(0, 1200)


@given(keys, chunks)
def test_an_id_says_its_key_and_chunk(key: str, chunk: int):
    assert parse_id(chunk_id(key, chunk)) == (key, chunk)
    assert chunk_id(key, chunk)


@given(keys, chunks, keys, chunks)
def test_no_two_chunks_share_an_id(key: str, chunk: int, other: str, another: int):
    assert (chunk_id(key, chunk) == chunk_id(other, another)) == ((key, chunk) == (other, another))


@given(st.text(alphabet=st.sampled_from("#01a"), max_size=8))
def test_only_ids_that_we_would_make_are_read_as_ours(name: str):
    parsed = parse_id(name)
    assert parsed is None or chunk_id(*parsed) == name or name == ""


@pytest.mark.parametrize(
    ("key", "chunk", "name"),
    [("a", 0, "a"), ("a", 1, "a#1"), ("a#1", 0, "a##1"), ("a#", 2, "a###2"), ("", 0, "#"), ("", 3, "#3")],
)
def test_ids_are_as_documented(key: str, chunk: int, name: str):
    assert chunk_id(key, chunk) == name


@pytest.mark.parametrize(
    ("metadata", "ours"),
    [
        ({"sync_key": "a", "sync_chunk": 1}, True),
        ({"sync_key": "b", "sync_chunk": 1}, False),
        ({"sync_key": "a", "sync_chunk": 2}, False),
        ({"sync_key": "a", "sync_chunk": True}, False),
        ({"sync_key": "a", "sync_chunk": 1.0}, False),
        ({"sync_key": "a"}, False),
        ({"sync_key": 5, "sync_chunk": 1}, False),
        (None, False),
    ],
)
def test_an_item_is_ours_if_id_and_metadata_agree(metadata: dict | None, ours: bool):
    assert is_ours("a#1", metadata) is ours


@pytest.mark.parametrize("name", ["", "sync_key", "sync_", "chroma:document", "$and", "#document", "a\0b"])
def test_fields_that_chroma_or_the_sync_needs_are_refused(name: str):
    with pytest.raises(ConfigurationError, match="cannot be used"):
        check_field_name(name)


@pytest.mark.parametrize("name", ["category", "isActive", "a b", "é", "synchronous", "x" * 300])
def test_other_fields_are_fine_and_chroma_gives_them_back(make_target: MakeTarget, name: str):
    check_field_name(name)
    target = make_target()
    put(target, Doc("a", "text", {name: "value"}))
    assert target.store().handle.get(include=["metadatas"])["metadatas"][0][name] == "value"


@pytest.mark.parametrize("name", ["ab", "-abc", "abc_", "a b c", "naïve", "x" * 504, "a__old", "a__rebuild", "", "a/b"])
def test_a_collections_name_that_chroma_refuses_is_refused_at_load(name: str):
    with pytest.raises(ConfigurationError, match=r"target\.collection"):
        ChromaTarget(settings=ChromaAddress(url="http://127.0.0.1:1"), collection=name)


@pytest.mark.parametrize("name", ["abc", "a.b-c_1", "knowledge_reference", "x" * 503])
def test_a_collections_name_that_chroma_takes_is_taken(make_target: MakeTarget, name: str):
    target = make_target(collection=name)
    put(target, Doc("a"))
    assert target.count() == 1
