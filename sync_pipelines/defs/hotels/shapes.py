"""The shapes of Cupid's payloads, old and new, as far as they are known."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from sync_pipelines.sources.rest.contract import Flag, Many, Moment, Number, Shape, Text, Texts, Whole

TIMES = ("checkin_start", "checkin_end", "checkout")


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

    usual = TIMES

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
    def times(self) -> dict[str, Any]:
        """The check-in times and instructions, of whichever shape."""
        found = self.checkin or self
        return {name: getattr(found, name) for name in (*TIMES, "instructions", "special_instructions")}

    def missing(self, path: str = "") -> set[str]:
        """The times are missing where neither shape is there."""
        either = self.checkin is not None or bool({*TIMES} & self.model_fields_set)
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
