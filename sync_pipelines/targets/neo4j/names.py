"""Labels, relationship types and property names: which ones there can be, and how Cypher is told them."""

from __future__ import annotations

OWN_PREFIX = "sync_"
KEY_NAME, PRINT_NAME = "sync_key", "sync_fingerprint"
"""The properties by which a node or relationship is known and proven; names that begin so are the sync's own."""

START_NAME, END_NAME = "sync_start", "sync_end"
"""What a relationship's ends are called where its properties are listed; in the graph they are nodes."""

META = "SyncTarget"
"""The label of the sync's own nodes, one for each label and type that it writes."""

_LONGEST = 180
"""Bytes of a label or type: ArcadeDB makes files of these names."""

_MOST_OF_A_PROPERTY = 1000


def quoted(name: str) -> str:
    """A name in Cypher, whatever stands in it."""
    return f"`{name.replace('`', '``')}`"


def wrong_label(name: str) -> str | None:
    """Why this cannot be a label or a type on every engine; None where it can."""
    if not name or "\0" in name:
        return "is empty or holds a NUL character"
    if len(name.encode(errors="surrogatepass")) > _LONGEST:
        return f"has more than {_LONGEST} bytes"
    if found := [mark for mark in ",~" if mark in name]:
        return f"holds {found[0]!r}, which ArcadeDB takes for its own"
    return "is the sync's own label" if name == META else None


def wrong_property(name: str) -> str | None:
    """Why this cannot be a property's name on every engine; None where it can."""
    if not name or "\0" in name:
        return "is empty or holds a NUL character"
    if len(name.encode(errors="surrogatepass")) > _MOST_OF_A_PROPERTY:
        return f"has more than {_MOST_OF_A_PROPERTY} bytes"
    if name.startswith(OWN_PREFIX):
        return f"begins with {OWN_PREFIX!r}, as the sync's own do"
    return "begins with '@', as ArcadeDB's own do" if name.startswith("@") else None
