"""Search: words to records, best first, over one collection or several."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sync_pipelines.engine.errors import ConfigurationError, RunError, SyncError
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.names import SYNC_CHUNKS, SYNC_KEY
from sync_pipelines.targets.chroma.reading import lookup
from sync_pipelines.targets.chroma.store import ChromaStore, Item
from sync_pipelines.targets.chroma.values import user_fields
from sync_pipelines.targets.document_values import microseconds

if TYPE_CHECKING:
    from sync_pipelines.targets.chroma.target import ChromaTarget
    from sync_pipelines.targets.embedding import Embedder

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_RANGES = {"$gt", "$gte", "$lt", "$lte"}
_LISTS = ("$in", "$nin")
_LOGIC = {"$and", "$or"}
_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$not_contains")
_FORM = f"Operators: {', '.join(_OPERATORS)}; {' and '.join(sorted(_LOGIC))} join a list of filters."
_SAMPLE = 1000
_TRIES, _PAUSE = 10, 0.05


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A record that was found.

    Args:
        key: the record's key, or a stranger's id.
        score: similarity of its best chunk, 1 for the same text, 0 for none (cosine: 1 - distance).
        text: the record's whole text; passage: its best chunk.
        metadata: its fields, without the sync's own.
        table, collection: where it was found; the table as `sync/name`.
        stranger: whether something else than the sync wrote it.
    """

    key: str
    score: float
    text: str
    passage: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    collection: str = ""
    stranger: bool = False


def best(
    targets: ChromaTarget | Iterable[ChromaTarget],
    words: str,
    *,
    limit: int = 10,
    where: Mapping[str, Any] | None = None,
    missing: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Hit]:
    """The records that are nearest to some words, best first, each once.

    Between the two renames of a rebuild's swap the old collection answers. A collection answers with the
    model that it was built with, also where the YAML already names another. Records without any text are
    stored but never found.

    Args:
        targets: one collection or several.
        words: in any language that the model knows.
        limit: number of records in all.
        where: Chroma's filter (`{"category": "history"}`, `{"matchCount": {"$gt": 3}}`, `$and`, `$or`, `$in`,
            `$contains` for a list). Several fields mean all of them. Times may be written as datetime, or
            after `$gt`, `$gte`, `$lt`, `$lte` as ISO text.
        missing: told, in a sentence, of a collection that is not made yet where another one answers; the log if
            left out.
        sleep: for tests.

    Raises:
        CollectionGoneError: none of the collections has been made yet.
        ConfigurationError: no words, or a filter that Chroma does not take.
        TransientError, RunError: Chroma or the provider of the embedding.
    """
    if not isinstance(words, str) or not words.strip():
        raise ConfigurationError("search needs words.")
    try:
        words.encode()
    except UnicodeEncodeError:
        remedy = "Check the terminal's encoding."
        raise ConfigurationError("search: the words are no text in UTF-8.", remedy=remedy) from None
    if not isinstance(limit, int) or limit < 1:
        raise ConfigurationError(f"limit: {limit} is no number of records.")
    many = list(targets) if isinstance(targets, Iterable) else [targets]
    wanted = chroma_filter(where)
    hits = _search_all(many, lambda target: _search_one(target, words, limit, wanted, sleep), missing or _log.warning)
    return sorted(hits, key=lambda hit: (-hit.score, hit.table, hit.collection, hit.key))[:limit]


def _search_all(
    targets: Sequence[ChromaTarget], search: Callable[[ChromaTarget], list[Hit]], missing: Callable[[str], None]
) -> list[Hit]:
    """What those find that are there: a table that was never synced must not hide the others."""
    hits: list[Hit] = []
    gone: list[CollectionGoneError] = []
    for target in targets:
        try:
            hits += search(target)
        except CollectionGoneError as error:
            gone.append(error)
    if gone and len(gone) == len(targets):
        raise gone[0]
    for error in gone:
        missing(str(error))
    return hits


def _search_one(
    target: ChromaTarget, words: str, limit: int, where: dict[str, Any] | None, sleep: Callable[[float], None]
) -> list[Hit]:
    def attempt() -> list[Hit]:
        store = _served(target)
        vector = _embedder_of(store, target).embed_query(words).tolist()
        try:
            hits = _hits(store, target, _best_chunks(store, vector, limit, where))
        except SyncError:
            _must_be_served(target, store)
            raise
        _must_be_served(target, store)
        return hits

    return _through_a_swap(attempt, sleep)


def _must_be_served(target: ChromaTarget, store: ChromaStore) -> None:
    """Look again: a collection that is being dropped answers with less, or with odd errors, before it is gone."""
    if _served(target).id != store.id:
        raise CollectionGoneError("the collection was swapped while it was searched.", **target.place)


def _served(target: ChromaTarget) -> ChromaStore:
    store = target.store()
    if store is None:
        raise CollectionGoneError(
            f"there is no collection {target.collection!r} yet.", remedy="Run its sync first.", **target.place
        )
    return store


def _through_a_swap(attempt: Callable[[], Result], sleep: Callable[[float], None]) -> Result:
    """Try again when the collection went while it was read: a swap drops the old one."""
    for tries in range(_TRIES):
        try:
            return attempt()
        except CollectionGoneError:
            if tries == _TRIES - 1:
                raise
            sleep(_PAUSE)
    raise AssertionError("unreachable")


def _embedder_of(store: ChromaStore, target: ChromaTarget) -> Embedder:
    """The embedder of the YAML, or where the collection was built with another one, that one."""
    stored = store.handle.configuration_json.get("embedding_function") or {}
    if stored.get("type") != "known" or not target.provenance.differences(store.metadata):
        return target.embedder
    from sync_pipelines.targets.embedding import stored_embedder

    return stored_embedder(stored["name"], stored.get("config") or {}, retry=target.embedder.retry)


def _best_chunks(
    store: ChromaStore, vector: Sequence[float], limit: int, where: dict[str, Any] | None
) -> list[tuple[Item, float]]:
    """The best chunk of each of the best records; more chunks are fetched until there are enough records."""
    total = store.count()
    asked = min(total, limit * 4)
    while asked:
        found = _query(store, vector, asked, where)
        best: dict[str, tuple[Item, float]] = {}
        for item, distance in found:
            if (item.document or "").strip():
                best.setdefault(_name(item), (item, _score(distance, store.space)))
        if len(best) >= limit or len(found) < asked or asked >= total:
            return list(best.values())[:limit]
        asked = min(total, asked * 4)
    return []


def _query(
    store: ChromaStore, vector: Sequence[float], limit: int, where: dict[str, Any] | None
) -> list[tuple[Item, float]]:
    try:
        return store.query(vector, limit=limit, where=where)
    except CollectionGoneError:
        raise
    except RunError as error:
        if where is None:
            raise
        raise ConfigurationError(f"where: {error.message}", remedy=_FORM) from None


def _name(item: Item) -> str:
    # a stranger's id may be spelled like a record's key
    return f"ours {item.metadata[SYNC_KEY]}" if item.ours else f"stranger {item.id}"


def _score(distance: float, space: str) -> float:
    similarity = 1.0 / (1.0 + distance) if space == "l2" else 1.0 - distance
    return min(1.0, max(0.0, similarity))


def _hits(store: ChromaStore, target: ChromaTarget, best: list[tuple[Item, float]]) -> list[Hit]:
    long = [item.metadata[SYNC_KEY] for item, _ in best if item.ours and item.metadata.get(SYNC_CHUNKS, 1) > 1]
    whole = lookup(store, long, documents=True) if long else {}
    hits = []
    for item, score in best:
        stored = whole.get(item.metadata[SYNC_KEY]) if item.ours else None
        chunks = [stored.chunks[number] for number in sorted(stored.chunks)] if stored else [item]
        hits.append(
            Hit(
                key=item.metadata[SYNC_KEY] if item.ours else item.id,
                score=score,
                text="".join(chunk.document or "" for chunk in chunks),
                passage=item.document or "",
                metadata=user_fields(item.metadata),
                table="/".join(part for part in target.place.values() if part),
                collection=target.collection,
                stranger=not item.ours,
            )
        )
    return hits


def chroma_filter(where: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A filter as Chroma takes it: times as microseconds, several fields joined by `$and`.

    Raises:
        ConfigurationError: what is no filter, an operator that there is not, or a range over text that is no time.
    """
    if not where:
        return None
    if not isinstance(where, Mapping):
        raise ConfigurationError(f"where: {where!r} is no filter.", remedy='Write {"field": value}. ' + _FORM)
    parts = [_part(name, condition) for name, condition in where.items()]
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _part(name: str, condition: Any) -> dict[str, Any]:
    if name in _LOGIC:
        return _joined(name, condition)
    wrong = [name] if name.startswith("$") else []
    wrong += (
        [operator for operator in condition if operator not in _OPERATORS] if isinstance(condition, Mapping) else []
    )
    if wrong:
        raise ConfigurationError(f"where: {wrong[0]!r} is no operator.", remedy=_FORM)
    if condition == {}:
        raise ConfigurationError(f"where: {name} names no operator.", remedy=_FORM)
    if isinstance(condition, Mapping):
        parts = [_compared(name, operator, value) for operator, value in condition.items()]
        return {"$and": parts} if len(parts) > 1 else parts[0]
    return _compared(name, "$eq", condition)


def _compared(name: str, operator: str, value: Any) -> dict[str, Any]:
    """One comparison as Chroma takes it; with a fraction, several, since Chroma cuts it off for whole numbers."""
    value = _operand(name, operator, value)
    _require(name, operator, value)
    if operator in _LISTS and (any(map(_is_fraction, value)) or {int, float} <= set(map(type, value))):
        logic, each = ("$or", "$eq") if operator == "$in" else ("$and", "$ne")
        parts = [_compared(name, each, one) for one in value]
        return {logic: parts} if len(parts) > 1 else parts[0]
    if _is_fraction(value) and operator in _OF_A_FRACTION:
        return _OF_A_FRACTION[operator](name, value)
    return {name: value} if operator == "$eq" else {name: {operator: value}}


def _require(name: str, operator: str, value: Any) -> None:
    """Refuse what Chroma refuses, in words that name the field."""
    is_list = isinstance(value, list)
    kinds = {_kind(one) for one in (value if is_list else [value])}
    if operator in _LISTS and (not is_list or len(kinds) != 1 or None in kinds):
        wants = "a list that is not empty, of texts, of numbers or of booleans"
    elif is_list is not (operator in _LISTS) or None in kinds:
        wants = "a text, a boolean, a time, or a number that is finite and, if whole, below 2 to the 63rd"
    else:
        return
    raise ConfigurationError(f"where: {name}: {operator} takes {wants}, and not {value!r}.", remedy=_FORM)


def _kind(value: Any) -> type | None:
    """Texts, booleans and numbers are of one kind each; None for what is nothing that metadata can hold."""
    if isinstance(value, bool | str):
        return type(value)
    fits = isinstance(value, int) and -(2**63) <= value < 2**63
    return float if fits or (isinstance(value, float) and math.isfinite(value)) else None


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and not value.is_integer()


def _both(logic: str, name: str, first: tuple[str, float], second: tuple[str, float]) -> dict[str, Any]:
    return {logic: [{name: {operator: value}} for operator, value in (first, second)]}


# What whole numbers are compared with is the fraction without its digits: 7.5 finds 7, and -7.5 finds -7.
_OF_A_FRACTION: dict[str, Callable[[str, float], dict[str, Any]]] = {
    "$eq": lambda name, value: _both("$and", name, ("$eq", value), ("$ne", math.trunc(value))),
    "$ne": lambda name, value: _both("$or", name, ("$ne", value), ("$eq", math.trunc(value))),
    "$gt": lambda name, value: _both("$or", name, ("$gt", value), ("$gte", math.ceil(value))),
    "$gte": lambda name, value: _both("$and", name, ("$gte", value), ("$ne", math.floor(value))),
    "$lt": lambda name, value: _both("$or", name, ("$lt", value), ("$lte", math.floor(value))),
    "$lte": lambda name, value: _both("$and", name, ("$lte", value), ("$ne", math.ceil(value))),
}


def _joined(name: str, condition: Any) -> dict[str, Any]:
    """`$and` or `$or` as Chroma takes it, which is of two filters or more.

    An empty filter is refused: it would mean every record in an `$or`, and is a slip in an `$and`.
    """
    filters = condition if isinstance(condition, list | tuple) else ()
    if not filters or not all(isinstance(each, Mapping) and each for each in filters):
        raise ConfigurationError(f"where: {name} takes a list of filters, none of them empty.", remedy=_FORM)
    parts = [part for each in filters if (part := chroma_filter(each))]
    return {name: parts} if len(parts) > 1 else parts[0]


def _operand(name: str, operator: str, value: Any) -> Any:
    if isinstance(value, datetime | date):
        return microseconds(value)
    if isinstance(value, list | tuple):
        return [_operand(name, operator, each) for each in value]
    if operator in _RANGES and isinstance(value, str):
        try:
            return microseconds(datetime.fromisoformat(value))
        except ValueError:
            raise ConfigurationError(
                f"where: {name}: {operator} compares numbers and times, and {value!r} is neither.",
                remedy="Write a number, or a time like 2024-05-01T12:00:00Z.",
            ) from None
    return value


def fields_in(where: Mapping[str, Any]) -> set[str]:
    """The metadata fields that a filter names."""
    found = {name for name in where if name not in _LOGIC}
    return found.union(*(fields_in(each) for name in _LOGIC & set(where) for each in where[name]))


def fields_of(targets: Iterable[ChromaTarget]) -> set[str]:
    """The metadata fields that records have, by a look at the first thousand chunks of each collection."""
    stores = [store for target in targets if (store := target.store())]
    pages = (page for store in stores for page in store.find(limit=_SAMPLE))
    return {name for page in pages for item in page for name in user_fields(item.metadata)}
