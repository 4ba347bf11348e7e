"""Cupid's payloads as rows. Pure functions: payload and key → table → rows.

Stated rules: texts lose the blanks at their ends, and a blank one is null; numbers and flags may be written as texts;
of the chain, "Not Available" is null; both shapes of the check-in times and of the envelope (`{"data": …}`) are read;
exact doubles in a list are one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import Field

from sync_pipelines.sources.rest.contract import (
    ContractError,
    Flag,
    Many,
    Moment,
    Number,
    Shape,
    Text,
    Texts,
    Whole,
    shown,
    unwrapped,
)

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_NO_CHAIN = "Not Available"
_TIMES = ("checkin_start", "checkin_end", "checkout")


class Address(Shape):
    """Where a property lies."""

    usual = ("address", "city", "country")

    address: Text = None
    city: Text = None
    state: Text = None
    country: Text = None
    postal_code: Text = None


class Checkin(Shape):
    """When guests come and go."""

    usual = _TIMES

    checkin_start: Text = None
    checkin_end: Text = None
    checkout: Text = None
    instructions: Texts
    special_instructions: Text = None


class Facility(Shape):
    """What a property has; one of a known list."""

    needed = ("facility_id",)
    usual = ("facility_id", "name")

    facility_id: Whole = None
    name: Text = None


class Policy(Shape):
    """A rule of the house; not every API version gives it an id."""

    usual = ("policy_type", "name", "description")

    id: Text = None
    policy_type: Text = None
    name: Text = None
    description: Text = None
    child_allowed: Text = None
    pets_allowed: Text = None
    parking: Text = None


class Photo(Shape):
    """A picture of a property, or of a room."""

    needed = ("url",)
    usual = ("url", "main_photo")

    url: Text = None
    hd_url: Text = None
    image_description: Text = None
    image_class1: Text = None
    image_class2: Text = None
    main_photo: Flag = None
    score: Number = None
    class_id: Whole = None
    class_order: Whole = None


class Bed(Shape):
    """Beds of one sort in a room."""

    quantity: Whole = None
    bed_type: Text = None
    bed_size: Text = None
    id: Whole = None


class Amenity(Shape):
    """What a room has."""

    amenities_id: Whole = None
    name: Text = None
    sort: Whole = None


class View(Shape):
    """What is seen from a room."""

    id: Whole = None
    view: Text = None


class Room(Shape):
    """A sort of room."""

    needed = ("id",)
    usual = ("id", "room_name", "max_occupancy")

    id: Whole = None
    hotel_id: Text = None
    room_name: Text = None
    description: Text = None
    room_size_square: Number = None
    room_size_unit: Text = None
    max_adults: Whole = None
    max_children: Whole = None
    max_occupancy: Whole = None
    bed_relation: Text = None
    bed_types: Many[Bed]
    room_amenities: Many[Amenity]
    photos: Many[Photo]
    views: Many[Annotated[View | Any, Field(union_mode="left_to_right")]]


class Property(Checkin):
    """A property; the check-in times stand here in the older shape, in `checkin` in the newer one."""

    needed = ("hotel_id",)
    usual = (
        *("hotel_id", "hotel_name", "latitude", "longitude", "address", "stars", "rating", "review_count"),
        *("description", "facilities", "policies", "photos", "rooms"),
    )
    columns: ClassVar[tuple[str, ...]] = (
        *("hotel_id", "cupid_id", "hotel_type_id", "hotel_type", "chain_id", "chain", "hotel_name", "stars", "rating"),
        *("review_count", "latitude", "longitude", "phone", "fax", "email", "airport_code", "main_image_th", "parking"),
        *("group_room_min", "child_allowed", "pets_allowed", "description", "markdown_description", "important_info"),
    )

    hotel_id: Whole = None
    cupid_id: Whole = None
    hotel_type_id: Whole = None
    hotel_type: Text = None
    chain_id: Whole = None
    chain: Text = None
    hotel_name: Text = None
    stars: Whole = None
    rating: Number = None
    review_count: Whole = None
    latitude: Number = None
    longitude: Number = None
    phone: Text = None
    fax: Text = None
    email: Text = None
    airport_code: Text = None
    main_image_th: Text = None
    address: Address | None = None
    checkin: Checkin | None = None
    parking: Text = None
    group_room_min: Whole = None
    child_allowed: Flag = None
    pets_allowed: Flag = None
    description: Text = None
    markdown_description: Text = None
    important_info: Text = None
    facilities: Many[Facility]
    policies: Many[Policy]
    photos: Many[Photo]
    rooms: Many[Room]
    reviews: Any = None

    @property
    def times(self) -> Row:
        """The check-in times and instructions, of whichever shape."""
        found = self.checkin or self
        return {name: getattr(found, name) for name in (*_TIMES, "instructions", "special_instructions")}

    def missing(self, path: str = "") -> set[str]:
        """The times are missing where neither shape is there."""
        either = self.checkin is not None or bool({*_TIMES} & self.model_fields_set)
        return super().missing(path) | (set() if either else {"checkin"})


class Review(Shape):
    """What a guest has said; the older shape has neither id nor source."""

    usual = ("average_score", "country", "type", "name", "date", "headline", "language", "pros", "cons")

    review_id: Text = None
    average_score: Number = None
    country: Text = None
    type: Text = None
    name: Text = None
    date: Moment = None
    headline: Text = None
    language: Text = None
    pros: Text = None
    cons: Text = None
    source: Text = None


class Reviews(Shape):
    """The list of them, under a name of ours."""

    usual = ("reviews",)

    reviews: Many[Review]


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
