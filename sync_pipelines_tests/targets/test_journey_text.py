"""The searchable text of a journey: all that people read, nothing that programs read."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.defs.knowledge.text import journey_text

ARABIC = "نَوْمٌ هَانِئٌ"


def texts(value: Any) -> list[str]:
    found = journey_text({"fullJson": value})
    return found.split("\n") if found else []


def test_keywords_tags_and_every_human_text_in_this_order():
    row = {
        "goalKeywords": ["sleep", "tidur", "نوم"],
        "tags": ["health"],
        "fullJson": {
            "id": "clr0q2v5x000108l41abc0001",
            "title": {"ar": ARABIC, "id": "Tidur nyenyak", "en": "Sleep well"},
            "icon": "moon",
            "steps": [
                {"id": "step-1", "type": "breathing", "title": "Breathe", "duration": 5},
                {"id": "step-2", "type": "reading", "body": {"en": "Read a page.", "ar": "اقرأ صفحة."}},
            ],
        },
    }
    expected = "Sleep well\nTidur nyenyak\n" + ARABIC + "\nBreathe\nRead a page.\nاقرأ صفحة."
    assert journey_text(row) == f"sleep, tidur, نوم\n\nhealth\n\n{expected}"


@pytest.mark.parametrize(
    "value",
    [
        "https://example.org/a",
        "mailto:someone",
        "#ff8800",
        "rgb(1,2,3)",
        "/images/moon.png",
        "moon.svg",
        "EASY",
        "DAILY_HABIT",
        "in_progress",
        "moodCheck",
        "step-1",
        "clr0q2v5x000108l41abc0001",
        "123e4567-e89b-12d3-a456-426614174000",
        "2024-05-01",
        "2024-05-01T12:00:00Z",
        "42",
        "🌙",
        "",
        "  ",
    ],
)
def test_what_looks_like_a_code_is_left_out_under_any_name(value: str):
    assert texts({"note": value}) == []


@pytest.mark.parametrize(
    "value",
    ["Sleep", "sleep", "Go!", "well-being", "Read: https://example.org", "ISLAM untuk semua", ARABIC, "日本"],
)
def test_what_people_read_stays(value: str):
    assert texts({"note": value}) == [value]


@pytest.mark.parametrize(
    "name",
    ["ids", "nextStepId", "imageUrl", "type", "status", "slug", "background_color", "iconName", "themeName"],
)
def test_fields_for_programs_are_left_out_by_their_name(name: str):
    assert texts({name: "plain words here"}) == []


def test_below_a_decoration_nothing_is_read_but_below_a_link_its_title_is():
    assert texts({"icon": {"label": "a moon"}, "link": {"url": "https://x.org", "title": "Read more"}}) == ["Read more"]
    assert texts({"type": {"label": "Evening routine"}}) == ["Evening routine"]


def test_id_means_indonesian_where_languages_are_and_an_identifier_elsewhere():
    assert texts({"title": {"id": "tidur", "en": "sleep"}}) == ["sleep", "tidur"]
    assert texts({"title": {"id": "Tidur nyenyak"}}) == ["Tidur nyenyak"]
    assert texts({"step": {"id": "abc"}}) == []
    assert texts({"step": {"id": "some words", "title": "Words"}}) == ["Words"]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"goalKeywords": None, "tags": None, "fullJson": None},
        {"goalKeywords": [], "tags": [], "fullJson": {}},
        {"fullJson": 5},
        {"fullJson": [None, 1, True, [], {}]},
    ],
)
def test_a_journey_without_any_text_has_none(row: dict):
    assert journey_text(row) == ""


def test_any_shape_of_json_is_read_in_document_order_and_byte_for_byte():
    padded = f"  {ARABIC} e\u0301 \u200f"
    assert journey_text({"fullJson": padded}) == padded
    assert texts([["one"], {"b": [{"c": "two"}], "a": "three"}]) == ["one", "two", "three"]
