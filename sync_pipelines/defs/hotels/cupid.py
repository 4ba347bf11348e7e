"""Cupid's payloads as rows. Pure functions: payload and key → table → rows.

Stated rules: texts lose the blanks at their ends, and a blank one is null; numbers and flags may be written as texts;
of the chain, "Not Available" is null; both shapes of the check-in times and of the envelope (`{"data": …}`) are read;
exact doubles in a list are one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sync_pipelines.defs.hotels.shapes import Address, Photo, Policy, Property, Review, Reviews, Room
from sync_pipelines.sources.rest.contract import ContractError, Shape, shown, unwrapped

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_NO_CHAIN = "Not Available"


def property_rows(payload: Any, key: tuple[str, ...]) -> Tables:
    """The rows of `GET /property/{id}`.

    Args:
        key: the hotel's id.

    Raises:
        ContractError: with the path of the field that breaks the contract.
    """
    found = _property(payload, key)
    hotel = {"hotel_id": found.hotel_id}
    return {
        "properties": [_property_row(found)],
        "rooms": _folded("rooms", "room_id", [{**hotel, **_room_row(room)} for room in found.rooms]),
        "photos": _numbered("photo_id", [{**hotel, **row} for row in _photo_rows(found)]),
        "facilities": _folded(
            "facilities", "facility_id", [{**hotel, **_named(one, "facility_id", "name")} for one in found.facilities]
        ),
        "policies": _numbered("policy_id", [{**hotel, **_policy_row(policy)} for policy in found.policies]),
    }


def review_rows(payload: Any, key: tuple[str, ...]) -> Tables:
    """The rows of `GET /property/reviews/{id}/{count}`; as `property_rows`."""
    hotel = {"hotel_id": int(key[0])}
    return {"reviews": _numbered("review_id", [{**hotel, **_review_row(one)} for one in _reviews(payload).reviews])}


def translation_rows(payload: Any, key: tuple[str, ...]) -> Tables:
    """The row of `GET /property/{id}/lang/{lang}`; as `property_rows`.

    Args:
        key: the hotel's id and the language.
    """
    found = _property(payload, key)
    texts = _named(
        found, "hotel_name", "hotel_type", "description", "markdown_description", "important_info", "parking"
    )
    row = {
        "hotel_id": found.hotel_id,
        "lang": key[1],
        **texts,
        **_named_of(found.times, "instructions", "special_instructions"),
        "facilities": [_named(one, "facility_id", "name") for one in found.facilities],
        "policies": [{**_named_of(_policy_row(one), "policy_id", "name", "description")} for one in found.policies],
        "rooms": [{"room_id": room.id, **_named(room, "room_name", "description")} for room in found.rooms],
    }
    return {"translations": [row]}


def drift(payload: Any) -> list[str]:
    """What the payload of any of the three endpoints has beyond the models, and what it lacks: `new field
    rooms[].balcony`, `missing field rating`; nothing of a payload that breaks the contract (that is told by itself)."""
    try:
        found = _reviews(payload) if isinstance(unwrapped(payload), list) else Property.read(unwrapped(payload))
    except ContractError:
        return []
    return sorted(
        [f"new field {path}" for path in found.unknown()] + [f"missing field {path}" for path in found.missing()]
    )


def _property(payload: Any, key: tuple[str, ...]) -> Property:
    found = Property.read(unwrapped(payload))
    if str(found.hotel_id) != key[0]:
        raise ContractError("hotel_id", f"it is {found.hotel_id}, and {key[0]} was asked for")
    return found


def _reviews(payload: Any) -> Reviews:
    items = unwrapped(payload)
    items = items["reviews"] if isinstance(items, dict) and "reviews" in items else items
    if items is None:
        items = []
    if not isinstance(items, list):
        raise ContractError("", f"a list of reviews is expected, found {shown(items)}")
    try:
        return Reviews.read({"reviews": items})
    except ContractError as error:
        raise ContractError(error.path.removeprefix("reviews"), error.message) from None


def _property_row(found: Property) -> Row:
    address = found.address or Address()
    chain = None if found.chain == _NO_CHAIN else found.chain
    return {
        **_named(found, *Property.columns),
        "chain": chain,
        **_named(address, "address", "city", "state", "country", "postal_code"),
        **found.times,
    }


def _room_row(room: Room) -> Row:
    return {
        "room_id": room.id,
        **_named(room, "room_name", "description", "room_size_square", "room_size_unit", "max_adults", "max_children"),
        **_named(room, "max_occupancy", "bed_relation"),
        **{name: [_plain(one) for one in getattr(room, name)] for name in ("bed_types", "room_amenities", "views")},
    }


def _photo_rows(found: Property) -> Iterable[Row]:
    yield from (_photo_row(photo, None) for photo in found.photos)
    for room in found.rooms:
        yield from (_photo_row(photo, room.id) for photo in room.photos)


def _photo_row(photo: Photo, room_id: int | None) -> Row:
    return {
        "photo_id": _mark(room_id, photo.url),
        "room_id": room_id,
        **_named(photo, "url", "hd_url", "image_description", "image_class1", "image_class2", "main_photo", "score"),
        **_named(photo, "class_id", "class_order"),
    }


def _policy_row(policy: Policy) -> Row:
    return {
        "policy_id": policy.id or _mark(policy.policy_type, policy.name),
        **_named(policy, "policy_type", "name", "description", "child_allowed", "pets_allowed", "parking"),
    }


def _review_row(review: Review) -> Row:
    said = _named(review, *Review.usual)
    return {"review_id": review.review_id or f"h{_mark(*said.values())}", **said, "source": review.source}


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if isinstance(value, Shape) else value


def _named(shape: Shape, *names: str) -> Row:
    return {name: getattr(shape, name) for name in names}


def _named_of(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def _mark(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()[:16]


def _folded(table: str, key: str, rows: list[Row]) -> list[Row]:
    """The rows with exact doubles as one.

    Raises:
        ContractError: two rows have one key and differ: none of them is the right one.
    """
    kept: dict[Any, Row] = {}
    for row in rows:
        if kept.setdefault(row[key], row) != row:
            raise ContractError(table, f"{key} {row[key]} stands there twice, with different values")
    return list(kept.values())


def _numbered(key: str, rows: Iterable[Row]) -> list[Row]:
    """The rows with exact doubles as one; others that share a key get `-2`, `-3`, … behind it, in their order."""
    kept: dict[str, Row] = {}
    for row in rows:
        alike = _alike(row[key], kept)
        if not any({**other, key: row[key]} == row for other in alike):
            name = row[key] if not alike else f"{row[key]}-{len(alike) + 1}"
            kept[name] = {**row, key: name}
    return list(kept.values())


def _alike(name: str, kept: dict[str, Row]) -> list[Row]:
    found, number = [], 1
    while (other := kept.get(name if number == 1 else f"{name}-{number}")) is not None:
        found.append(other)
        number += 1
    return found
