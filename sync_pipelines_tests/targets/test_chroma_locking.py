"""One collection has one lock, however its server is spelled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync_pipelines.targets.chroma.client import ChromaAddress
from sync_pipelines.targets.chroma.locking import lock_name


def name(url: str, collection: str = "article") -> str:
    return lock_name(ChromaAddress(url=url), collection)


@pytest.mark.parametrize(
    "other",
    [
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://0.0.0.0:8000",
        "HTTP://LocalHost:8000/",
        "http://ann:hunter2@localhost:8000",
        "https://localhost:8000",
    ],
)
def test_every_spelling_of_a_server_on_this_machine_is_one_lock(other: str):
    assert name(other) == name("http://localhost:8000")


def test_the_schemes_port_may_be_left_out():
    assert name("https://chroma.example.org") == name("https://Chroma.example.org.:443/")


def test_another_port_host_path_or_collection_is_another_lock():
    ways = ["http://a:8000", "http://a:8001", "http://b:8000", "http://a:8000/two", "http://a"]
    assert len({name(way) for way in ways} | {name("http://a:8000", "another")}) == 6


def test_the_name_holds_no_password():
    assert "hunter2" not in name("http://ann:hunter2@chroma:8000")


def test_a_folder_is_one_lock_for_all_its_collections_by_whatever_path(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    spellings = [tmp_path / "real", tmp_path / "link", Path(os.path.relpath(tmp_path / "real")), tmp_path / "x/../real"]
    assert len({lock_name(ChromaAddress(path=str(path)), path.name) for path in spellings}) == 1
