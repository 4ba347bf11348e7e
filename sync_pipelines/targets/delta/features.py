"""Whether delta-rs may write a table: one table has one writing engine (facts/jvm-engines.md)."""

from __future__ import annotations

from typing import Any

MAY_WRITE = frozenset(
    {
        "appendOnly",
        "invariants",
        "checkConstraints",
        "changeDataFeed",
        "generatedColumns",
        "timestampNtz",
        "v2Checkpoint",
    }
)
"""Table features of the writer's protocol that delta-rs 1.6 honours. Deletion vectors are read, and its MERGE
writes beside them, but its vacuum and compaction have destroyed live ones: they are left to the engine that made
them."""

_BY_VERSION = {
    3: {"checkConstraints"},
    4: {"changeDataFeed", "generatedColumns"},
    5: {"columnMapping"},
    6: {"identityColumns"},
}


def foreign_features(table: Any) -> list[str]:
    """The features of a table that delta-rs cannot write, or would damage."""
    protocol = table.protocol()
    if protocol.min_writer_version >= 7:
        return sorted(set(protocol.writer_features or ()) - MAY_WRITE)
    configuration = table.metadata().configuration
    legacy = set().union(*(names for version, names in _BY_VERSION.items() if version <= protocol.min_writer_version))
    used = {"columnMapping"} if configuration.get("delta.columnMapping.mode", "none") != "none" else set()
    # a version brings features that a table need not use; column mapping alone is told by a property
    return sorted((legacy & {"columnMapping"} & used) - MAY_WRITE)
