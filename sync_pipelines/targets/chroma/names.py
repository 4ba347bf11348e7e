"""Names in Chroma: record ids, reserved metadata fields, collections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError

SYNC_KEY = "sync_key"
SYNC_FINGERPRINT = "sync_fingerprint"  # on chunk 0 alone, which is written last
SYNC_GENERATION = "sync_generation"  # on chunks 1…: the fingerprint that they were written for
SYNC_TEXT = "sync_text"
SYNC_CHUNK = "sync_chunk"
SYNC_CHUNKS = "sync_chunks"
SYNC_CHANGED_AT = "sync_changed_at"  # microseconds since the epoch, UTC
RESERVED_PREFIXES = ("sync_", "chroma:")

REBUILD_SUFFIX = "__rebuild"
OLD_SUFFIX = "__old"

_EXTRA = re.compile(r"(?s)(.*?)(#+)([1-9][0-9]*)\Z")
_COLLECTION = re.compile(r"(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+\Z)[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")


def chunk_id(key: str, chunk: int) -> str:
    """The id of a record's chunk: the key with `#` doubled; for chunks 1… a single `#` and the number.

    Chroma refuses an empty id, so the empty key is the id `#`, which no other key has.
    """
    head = key.replace("#", "##")
    if chunk:
        return f"{head}#{chunk}"
    return head or "#"


def parse_id(name: str) -> tuple[str, int] | None:
    """The key and the chunk that `chunk_id` makes this id from, or None where it makes no such id."""
    if name == "#":
        return "", 0
    match = _EXTRA.match(name)
    # a key's own marks are doubled, so only an odd run in front of a number is the separator
    if match and len(match[2]) % 2:
        return _unescaped(match[1] + match[2][:-1], int(match[3]))
    return _unescaped(name, 0)


def _unescaped(head: str, chunk: int) -> tuple[str, int] | None:
    key = head.replace("##", "#")
    return (key, chunk) if key.replace("#", "##") == head else None


def is_ours(name: str, metadata: Mapping[str, Any] | None) -> bool:
    """Whether this sync wrote the item: its metadata and its id say the same key and chunk."""
    if not metadata or not isinstance(metadata.get(SYNC_KEY), str):
        return False
    chunk = metadata.get(SYNC_CHUNK)
    return type(chunk) is int and chunk >= 0 and chunk_id(metadata[SYNC_KEY], chunk) == name


def check_field_name(name: str, *, place: str = "") -> None:
    """Refuse a metadata field that Chroma refuses, hides or that the sync needs itself.

    Chroma 1.5.9 answers 400 to names that are empty or begin with `$` or `#`, and takes `chroma:…` only to
    hide it from every answer.

    Raises:
        ConfigurationError: with the field and what to do.
    """
    if not name or "\0" in name or name[0] in "$#" or name.startswith(RESERVED_PREFIXES):
        raise ConfigurationError(
            f"{place + ': ' if place else ''}the metadata field {name!r} cannot be used: empty names, names that "
            "begin with $ or #, and names that begin with sync_ or chroma: are taken.",
            remedy="Rename the column, or leave it out of `metadata`.",
        )


def check_collection_name(name: str) -> None:
    """Refuse a collection's name that Chroma refuses, room for `__rebuild` included.

    Raises:
        ConfigurationError: with Chroma's rule.
    """
    if not _COLLECTION.fullmatch(name) or len(name) + len(REBUILD_SUFFIX) > 512:
        raise ConfigurationError(
            f"target.collection: {name!r} is no name for a Chroma collection.",
            remedy="It has 3 to 503 characters of a-z, A-Z, 0-9, '.', '_' and '-', begins and ends with a letter or "
            "a digit, has no two stops in a row and is no IP address.",
        )
    if name.endswith((REBUILD_SUFFIX, OLD_SUFFIX)):
        raise ConfigurationError(
            f"target.collection: {name!r} ends with {REBUILD_SUFFIX} or {OLD_SUFFIX}, which a rebuild uses.",
            remedy="Choose another name.",
        )
