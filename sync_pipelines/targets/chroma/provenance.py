"""How a collection was made, written into the collection, and compared before anything is added to it.

chromadb 1.5.9 refuses another embedding function by name, but takes another configuration of the same one
in silence; vectors of two models in one collection answer searches with nonsense.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sync_pipelines.engine.errors import RunError, TargetChangedError
from sync_pipelines.targets.chroma.store import ChromaStore, Place
from sync_pipelines.targets.chroma.values import canonical
from sync_pipelines.targets.embedding import EmbeddingSpec

FORMAT = 1
"""Raised when ids or reserved fields change their meaning."""

REPLACES = "sync_replaces"
"""The id of the collection that a rebuilt one takes the place of, from the moment that its swap began."""

OWNER = "sync_owner"
"""The table, `sync/name`, that alone may write into the collection."""

STAMP = "sync_stamp"
"""What the last confirmed run left; see `engine.model.Target.stamp`."""

_PREFIX = "sync_"
_INCIDENTAL = re.compile(r"_env_var$|^(device|timeout|num_threads|intra_op_num_threads)$")
_NOT_COMPARED = {"mapping", "dimensions"}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a collection's vectors depend on.

    Args:
        embedding, config, model: the function's registered name, a hash of its settings, its version.
        dimensions: length of the vectors; 0 where unknown before the first one.
        chunking: how texts are split.
        mapping: version of the document mapping; for people. A changed mapping needs no rebuild: it is part
            of every fingerprint, so its records are mended in place, and unchanged text is not embedded.
    """

    embedding: str
    config: str
    model: str
    dimensions: int
    chunking: str
    mapping: str = ""
    format: int = FORMAT

    @staticmethod
    def of(spec: EmbeddingSpec, *, chunking: str, mapping: str) -> Provenance:
        settings = canonical(_deciding(spec.function_config))
        return Provenance(
            embedding=spec.function_name,
            config=hashlib.sha256(settings.encode()).hexdigest()[:16],
            model=spec.version,
            dimensions=spec.expected_dimensions or 0,
            chunking=chunking,
            mapping=mapping,
        )

    def as_metadata(self) -> dict[str, Any]:
        return {f"{_PREFIX}{name}": value for name, value in asdict(self).items()}

    def differences(self, metadata: Mapping[str, Any]) -> list[str]:
        """`chunking: was 'x', is now 'y'` for each part in which stored metadata differs."""
        found = []
        for name, now in asdict(self).items():
            was = metadata.get(_PREFIX + name)
            if name not in _NOT_COMPARED and was != now:
                found.append(f"{name}: was {was!r}, is now {now!r}")
        was = metadata.get(f"{_PREFIX}dimensions")
        if was and self.dimensions and was != self.dimensions:
            found.append(f"dimensions: was {was!r}, is now {self.dimensions!r}")
        return found


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the vectors; where a key stands or what runs the model does not."""
    return {name: value for name, value in config.items() if not _INCIDENTAL.search(name)}


def has_provenance(metadata: Mapping[str, Any]) -> bool:
    """Whether this package made the collection."""
    return f"{_PREFIX}format" in metadata


def check(store: ChromaStore, wanted: Provenance, *, place: Place) -> None:
    """Refuse to write into a collection that was made in another way.

    Raises:
        TargetChangedError: with what differs.
        RunError: the collection was made by something else.
    """
    metadata = store.metadata
    if not has_provenance(metadata):
        raise RunError(
            f"the Chroma collection {store.name!r} was made by something else and holds items.",
            remedy="Name another collection, or run with `mode: rebuild` to replace it.",
            **place,
        )
    found = wanted.differences(metadata)
    if found:
        raise TargetChangedError(
            f"the Chroma collection {store.name!r} was built in another way ({'; '.join(found)}).",
            remedy="Run the sync with `mode: rebuild`: it builds anew beside and then swaps.",
            **place,
        )


def check_owner(store: ChromaStore, owner: str, *, place: Place) -> None:
    """Refuse to write into the collection of another table.

    Raises:
        RunError: with both names, and the way to take the collection over.
    """
    if found := other_owner(store.metadata, owner):
        raise RunError(
            f"the Chroma collection {store.name!r} belongs to {found}: each would delete the other's records.",
            remedy=f"Name another collection. Or, where {found} was renamed or is gone, run {owner} once with "
            "`mode: rebuild`: it builds anew beside and takes the collection over.",
            **place,
        )


def other_owner(metadata: Mapping[str, Any], owner: str) -> str | None:
    """The table that owns a collection, if that is another one; a collection of older versions has no owner yet."""
    found = metadata.get(OWNER)
    return found if found and owner and found != owner else None


def check_function(store: ChromaStore, function: Any, *, place: Place) -> None:
    """Compare the function that is about to embed with the one that the collection names.

    A default that changed with the provider's package shows here, and only here.

    Raises:
        TargetChangedError: their settings differ.
    """
    stored = store.handle.configuration_json.get("embedding_function") or {}
    if stored.get("type") != "known":
        return
    now = {"name": function.name(), "config": _deciding(function.get_config())}
    was = {"name": stored.get("name"), "config": _deciding(stored.get("config") or {})}
    if canonical(now) != canonical(was):
        raise TargetChangedError(
            f"the Chroma collection {store.name!r} was built with {canonical(was)}; it is now {canonical(now)}.",
            remedy="Name the old settings in embedding.config, or run the sync with `mode: rebuild`.",
            **place,
        )
