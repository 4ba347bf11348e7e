"""A hotel of its id alone: the same in every process, and as many as there are ids."""

from __future__ import annotations

from random import Random
from typing import Any

from sync_pipelines.sandbox.cupid import texts
from sync_pipelines.sandbox.cupid.places import CITIES, City

Document = dict[str, Any]

FIRST_ID, LAST_ID = 1, 99_999_999
"""Ids beyond these are of no hotel."""

_PHOTOS = "https://photos.cupid.travel"
_PHOTO_CLASSES = ((1, "Building"), (2, "Room"), (3, "Breakfast"), (4, "Bathroom"))


def some_ids(count: int) -> list[int]:
    """Ids that look like Cupid's own: no two the same, with gaps."""
    return [1_370_000 + number * 37 + Random(f"id/{number}").randrange(37) for number in range(count)]


def hotel(number: int) -> Document:
    """What `GET /property/{id}` answers, in English."""
    return _hotel(number, "en")


def translation(number: int, language: str) -> Document | None:
    """What `GET /property/{id}/lang/{lang}` answers; None where nobody has translated it: one of ten."""
    if language not in texts.LANGUAGES or Random(f"lang/{number}/{language}").random() < 0.1:
        return None
    return _hotel(number, language)


def _hotel(number: int, language: str) -> Document:
    random = Random(f"hotel/{number}")
    city, kind = random.choice(CITIES), random.choice(texts.HOTEL_TYPES)
    name = random.choice(texts.NAMES).format(word=random.choice(texts.WORDS))
    chain = random.randrange(len(texts.CHAINS))
    return {
        "hotel_id": number,
        "cupid_id": number + 5_000_000,
        "main_image_th": f"{_PHOTOS}/{number}/1_th.jpg",
        "hotel_type": kind[1],
        "hotel_type_id": kind[0],
        "chain": texts.CHAINS[chain],
        "chain_id": chain if texts.CHAINS[chain] != "Not Available" else 0,
        "latitude": round(city.latitude + random.uniform(-0.05, 0.05), 6),
        "longitude": round(city.longitude + random.uniform(-0.05, 0.05), 6),
        "hotel_name": name,
        "phone": f"{city.phone}{random.randrange(100_000, 999_999)}",
        "fax": "",
        "email": f"reception@{number}.example" if random.random() < 0.7 else "",
        "address": _address(city, random),
        "stars": random.choice((2, 3, 3, 4, 4, 5)),
        "airport_code": city.airport,
        "rating": round(random.uniform(6.2, 9.7), 1),
        "review_count": random.randrange(20, 4_000),
        **_checkin(random),
        "parking": random.choice(("yes", "no", "", None)),
        "group_room_min": random.choice((None, None, 5, 10)),
        "child_allowed": random.choice((True, True, None)),
        "pets_allowed": random.choice((True, False, False, None)),
        "photos": [_photo(f"{number}/{at}", random, main=at == 1) for at in range(1, random.randint(4, 9))],
        **_words(number, language, name, city),
        "facilities": _facilities(number, language),
        "policies": _policies(number, language),
        "rooms": _rooms(number, language),
        "reviews": None,
    }


def _address(city: City, random: Random) -> Document:
    street = city.street.format(number=random.randint(1, 190), street=random.choice(city.streets))
    address = {"address": street, "city": city.name, "country": city.country}
    if city.state is not None:
        address["state"] = city.state
    if city.postal:
        address["postal_code"] = "".join(str(random.randrange(10)) if sign == "#" else sign for sign in city.postal)
    return address


def _checkin(random: Random) -> Document:
    """In one of five, the older shape: the times stand by themselves."""
    times = {
        "checkin_start": random.choice(("14:00", "15:00", "12:00", "03:00 PM")),
        "checkin_end": random.choice(("00:00", "22:00", "")),
        "checkout": random.choice(("10:00", "11:00", "12:00")),
    }
    if random.random() < 0.2:
        return times
    instructions = ["A credit card and an identity card are asked for on arrival."] if random.random() < 0.5 else []
    special = "The front desk closes at midnight." if random.random() < 0.3 else ""
    return {"checkin": {**times, "instructions": instructions, "special_instructions": special}}


def _words(number: int, language: str, name: str, city: City) -> Document:
    random = Random(f"words/{number}")
    opening, details = random.randrange(len(texts.OPENINGS["en"])), random.sample(range(len(texts.DETAILS["en"])), 2)
    sentences = [
        texts.OPENINGS[language][opening].format(name=name, city=city.name),
        *(texts.DETAILS[language][detail] for detail in details),
    ]
    return {
        "description": "".join(f"<p>{sentence}</p>" for sentence in sentences),
        "markdown_description": "\n\n".join(sentences),
        "important_info": texts.POLICIES[language][2] if random.random() < 0.6 else "",
    }


def _facilities(number: int, language: str) -> list[Document]:
    random = Random(f"facilities/{number}")
    chosen = sorted(random.sample(range(len(texts.FACILITY_IDS)), random.randint(3, 7)))
    return [{"facility_id": texts.FACILITY_IDS[at], "name": texts.FACILITIES[language][at]} for at in chosen]


def _policies(number: int, language: str) -> list[Document]:
    random = Random(f"policies/{number}")
    with_ids = random.random() < 0.5
    policies = []
    for at, kind in enumerate(texts.POLICY_TYPES[: random.randint(1, 3)]):
        policy = {
            "policy_type": kind,
            "name": kind.removeprefix("POLICY_").replace("_", " ").title(),
            "description": texts.POLICIES[language][at],
            "child_allowed": "yes" if at == 0 else "",
            "pets_allowed": "on request" if at == 1 else "",
            "parking": "public" if at == 2 else "",
        }
        policies.append({**policy, "id": number * 10 + at} if with_ids else policy)
    return policies


def _rooms(number: int, language: str) -> list[Document]:
    random = Random(f"rooms/{number}")
    chosen = sorted(random.sample(range(len(texts.ROOMS["en"])), random.randint(2, 5)))
    return [_room(number, at, texts.ROOMS[language][at], texts.DETAILS[language][1], random) for at in chosen]


def _room(number: int, at: int, name: str, description: str, random: Random) -> Document:
    adults, children = random.randint(1, 4), random.randint(0, 2)
    bed = {"quantity": random.randint(1, 2), "bed_type": random.choice(("Double bed", "Single bed", "Sofa bed"))}
    amenities = random.sample(range(len(texts.FACILITY_IDS)), 3)
    return {
        "id": number * 10 + at,
        "hotel_id": str(number),
        "room_name": name,
        "description": description,
        "room_size_square": random.randint(12, 55),
        "room_size_unit": "m2",
        "max_adults": adults,
        "max_children": children,
        "max_occupancy": adults + children,
        "bed_relation": random.choice(("", "or", "and")),
        "bed_types": [{**bed, "bed_size": "90-130 cm wide", "id": at + 1}],
        "room_amenities": [
            {"amenities_id": texts.FACILITY_IDS[one], "name": texts.FACILITIES["en"][one], "sort": place}
            for place, one in enumerate(amenities)
        ],
        "photos": [_photo(f"{number}/room{at}_{one}", random, main=one == 1) for one in range(1, random.randint(2, 4))],
        "views": [{"id": 1, "view": "Garden view"}] if random.random() < 0.4 else [],
    }


def _photo(path: str, random: Random, *, main: bool) -> Document:
    kind, name = random.choice(_PHOTO_CLASSES)
    return {
        "url": f"{_PHOTOS}/{path}.jpg",
        "hd_url": f"{_PHOTOS}/{path}_hd.jpg",
        "image_description": name.lower(),
        "image_class1": name,
        "image_class2": "",
        "main_photo": main,
        "score": random.choice((round(random.uniform(0, 5), 2), random.randint(1, 5))),
        "class_id": kind,
        "class_order": random.randint(1, 20),
    }


def reviews(number: int) -> list[Document]:
    """All reviews of a hotel, the newest first; in one of two hotels they have ids and a source."""
    random = Random(f"reviews/{number}")
    with_ids = random.random() < 0.5
    found = [_review(random) for _ in range(random.randint(0, 25))]
    found.sort(key=lambda review: review["date"], reverse=True)
    if with_ids:
        found = [{**one, "review_id": number * 100 + at, "source": "Nuitee"} for at, one in enumerate(found)]
    return found


def _review(random: Random) -> Document:
    guest, country, language = random.choice(texts.GUESTS)
    day = f"{random.choice((2024, 2025, 2026))}-{random.randint(1, 9):02}-{random.randint(1, 28):02}"
    return {
        "average_score": random.randint(4, 10),
        "country": country,
        "type": random.choice(texts.GUEST_TYPES),
        "name": guest,
        "date": f"{day} {random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}",
        "headline": random.choice(texts.HEADLINES[language]),
        "language": language,
        "pros": random.choice(texts.PROS[language]),
        "cons": random.choice(texts.CONS[language]),
    }
