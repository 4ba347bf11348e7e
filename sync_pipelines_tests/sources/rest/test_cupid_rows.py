"""Cupid's payloads as rows: both shapes, stated rules, stable keys, and what breaks them."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.defs.hotels.cupid import drift, property_rows, review_rows, translation_rows
from sync_pipelines.sandbox.cupid.faults import Fault
from sync_pipelines.sandbox.cupid.hotels import hotel, reviews, some_ids, translation
from sync_pipelines.sources.rest.contract import ContractError

KEYS = {
    "properties": ("hotel_id",),
    "rooms": ("hotel_id", "room_id"),
    "photos": ("hotel_id", "photo_id"),
    "facilities": ("hotel_id", "facility_id"),
    "policies": ("hotel_id", "policy_id"),
}


def rows_of(number: int, **fields: Any) -> dict[str, list[dict[str, Any]]]:
    return property_rows({**hotel(number), **fields}, (str(number),))


def new_shape() -> int:
    return next(number for number in some_ids(50) if "checkin" in hotel(number))


def test_a_property_becomes_rows_of_five_tables_with_keys_of_their_own():
    for number in some_ids(40):
        found, payload = rows_of(number), hotel(number)
        assert set(found) == set(KEYS)
        for table, rows in found.items():
            assert len({tuple(row[name] for name in KEYS[table]) for row in rows}) == len(rows)
            assert all(set(row) == set(rows[0]) for row in rows)
        assert len(found["rooms"]) == len(payload["rooms"])
        assert len(found["photos"]) == len(payload["photos"]) + sum(len(room["photos"]) for room in payload["rooms"])
        (one,) = found["properties"]
        assert (one["hotel_id"], one["latitude"]) == (number, payload["latitude"])
        assert (one["city"], one["country"]) == (payload["address"]["city"], payload["address"]["country"])


@pytest.mark.parametrize("kind", ["strings", "wrapped"])
def test_numbers_as_strings_and_an_envelope_change_nothing(kind: str):
    for number in some_ids(20):
        shaped = Fault(kind).shaped(hotel(number))
        assert property_rows(shaped, (str(number),)) == rows_of(number)
        assert review_rows(Fault("strings").shaped(reviews(number)), (str(number),)) == review_rows(
            reviews(number), (str(number),)
        )


def test_both_shapes_of_the_check_in_times_are_read():
    number = new_shape()
    (new,) = rows_of(number)["properties"]
    (old,) = property_rows(Fault("old_checkin").shaped(hotel(number)), (str(number),))["properties"]
    assert new["checkin_start"] == hotel(number)["checkin"]["checkin_start"]
    times = ("checkin_start", "checkin_end", "checkout")
    assert [old[name] for name in times] == [new[name] for name in times]
    assert (old["instructions"], old["special_instructions"]) == ([], None)


def test_missing_fields_are_null_and_new_ones_change_nothing():
    number = new_shape()
    (one,) = property_rows({"hotel_id": number}, (str(number),))["properties"]
    assert {name for name, value in one.items() if value not in (None, [])} == {"hotel_id"}
    assert rows_of(number, pool={"depth": 3}) == rows_of(number)


def test_blank_texts_and_a_chain_that_is_none_are_null():
    number = new_shape()
    (one,) = rows_of(number, fax=" ", chain="Not Available", email=" a@b.c ")["properties"]
    assert (one["fax"], one["chain"], one["email"]) == (None, None, "a@b.c")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"latitude": "north"}, "latitude"),
        ({"rooms": "none"}, "rooms"),
        ({"rooms": [{"id": 1}, {"id": "two"}]}, "rooms[1].id"),
        ({"photos": [{"hd_url": "x"}]}, "photos[0].url"),
        ({"facilities": [{"facility_id": 7, "name": "Bar"}, {"facility_id": 7, "name": "Pool"}]}, "facilities"),
        ({"hotel_id": 5}, "hotel_id"),
        ({"hotel_id": None}, "hotel_id"),
        ({"description": "a\0b"}, "description"),
    ],
)
def test_a_payload_that_breaks_the_contract_says_where(fields: dict[str, Any], path: str):
    with pytest.raises(ContractError) as caught:
        rows_of(new_shape(), **fields)
    assert caught.value.path == path


def test_the_same_photo_of_two_rooms_is_two_and_the_same_twice_is_one():
    photo = {"url": "https://photos.cupid.travel/1.jpg"}
    other = {**photo, "score": 3}
    found = rows_of(new_shape(), photos=[photo, photo, other], rooms=[{"id": 1, "photos": [photo]}])["photos"]
    assert [(row["room_id"], row["score"]) for row in found] == [(None, None), (None, 3.0), (1, None)]
    assert found[1]["photo_id"] == f"{found[0]['photo_id']}-2"
    assert not found[2]["photo_id"].startswith(found[0]["photo_id"])


def test_a_review_without_an_id_keeps_its_key_and_one_with_an_id_has_that():
    without = next(number for number in some_ids(50) if reviews(number) and "review_id" not in reviews(number)[0])
    first = review_rows(reviews(without), (str(without),))["reviews"]
    newer = {**reviews(without)[0], "date": "2026-11-01 08:00:00"}
    again = review_rows([newer, *reversed(reviews(without))], (str(without),))["reviews"]
    assert {row["review_id"] for row in first} < {row["review_id"] for row in again}
    assert len(again) == len(first) + 1
    assert all(row["review_id"][0] == "h" for row in first)
    own = next(number for number in some_ids(50) if reviews(number) and "review_id" in reviews(number)[0])
    assert [row["review_id"] for row in review_rows(reviews(own), (str(own),))["reviews"]] == [
        str(review["review_id"]) for review in reviews(own)
    ]


@pytest.mark.parametrize("nothing", [[], None, {"data": []}, {"reviews": None}])
def test_no_reviews_are_no_rows(nothing: Any):
    assert review_rows(nothing, ("7",)) == {"reviews": []}


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ("none", "the payload: a list of reviews is expected, found 'none'"),
        ({"error": "x"}, "the payload: a list of reviews is expected, found an object of 1"),
        ([{"average_score": 8}, {"average_score": "great"}], "[1].average_score: a number is expected, found 'great'"),
        ([{"date": "yesterday"}], "[0].date: a time like 2026-03-01 12:30:00 is expected"),
    ],
)
def test_reviews_that_break_the_contract_say_where(payload: Any, sentence: str):
    with pytest.raises(ContractError) as caught:
        review_rows(payload, ("7",))
    assert str(caught.value).startswith(sentence)


def test_a_translation_is_one_row_flat_or_wrapped():
    number = next(number for number in some_ids(50) if translation(number, "fr"))
    flat = translation_rows(translation(number, "fr"), (str(number), "fr"))
    assert translation_rows({"data": translation(number, "fr")}, (str(number), "fr")) == flat
    (row,) = flat["translations"]
    assert (row["hotel_id"], row["lang"], row["hotel_name"]) == (number, "fr", hotel(number)["hotel_name"])
    assert row["description"] != rows_of(number)["properties"][0]["description"]
    assert [room["room_id"] for room in row["rooms"]] == [room["room_id"] for room in rows_of(number)["rooms"]]


def test_drift_names_new_and_vanished_fields_and_is_silent_over_what_is_known():
    for number in some_ids(60):
        for document in (hotel(number), reviews(number), translation(number, "de") or []):
            assert drift(document) == []
    payload = hotel(new_shape())
    payload["rooms"][0]["balcony"] = True
    del payload["rating"], payload["checkin"]
    assert drift({"data": payload}) == ["missing field checkin", "missing field rating", "new field rooms[].balcony"]
    assert drift([{"average_score": 8}])[0] == "missing field reviews[].cons"
    assert drift({"hotel_id": "x"}) == []
