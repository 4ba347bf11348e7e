"""Filters of a query: a request's filter becomes a function that says of a page whether it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sync_pipelines.sandbox.notion.dates import is_day, moment, parsed
from sync_pipelines.sandbox.notion.given import Given
from sync_pipelines.sandbox.notion.model import DataSource, Page, Property
from sync_pipelines.sandbox.notion.properties import options_of, text_of
from sync_pipelines.sandbox.notion.refusals import invalid

Fits = Callable[[Page], bool]
Test = Callable[[Any], bool]
"""Says of a property's value whether it fits."""

NESTING = 2
"""Levels of `and` and `or`."""

TEXTS = ("title", "rich_text", "url", "email", "phone_number")
TIMES = ("created_time", "last_edited_time")


def compiled(given: Given, source: DataSource, now: datetime, levels: int = NESTING) -> Fits:
    """The function of a filter.

    Raises:
        Refusal: it names a property that is not there, a condition that its type does not have, or is nested too deep.
    """
    for name, together in (("and", _all), ("or", _any)):
        if given.field(name).there:
            if not levels:
                raise given.field(name).wrong("should be not present")
            parts = [compiled(one, source, now, levels - 1) for one in given.only("and", "or").field(name).elements()]
            return together(parts)
    if given.field("timestamp").there:
        return _of_timestamp(given, now)
    return _of_property(given, source, now)


def _all(parts: Sequence[Fits]) -> Fits:
    return lambda page: all(part(page) for part in parts)


def _any(parts: Sequence[Fits]) -> Fits:
    """Texts of one property are looked up together: a sync asks every page for 50 keys at once."""
    texts: dict[str, set[str]] = {}
    for part in parts:
        if isinstance(part, _Equals):
            texts.setdefault(part.id, set()).add(part.wanted)
    others = [part for part in parts if not isinstance(part, _Equals)]
    return lambda page: (
        any(_folded(page, key) in wanted for key, wanted in texts.items()) or any(part(page) for part in others)
    )


@dataclass(frozen=True)
class _Equals:
    """Whether a property is this text. Notion compares texts without regard to case."""

    id: str
    wanted: str

    def __call__(self, page: Page) -> bool:
        return _folded(page, self.id) == self.wanted


def _folded(page: Page, key: str) -> str:
    return text_of(page.values.get(key)).casefold()


def _of_timestamp(given: Given, now: datetime) -> Fits:
    name = given.only("timestamp", "type", *TIMES).field("timestamp").one_of(*TIMES)
    test = _date(given.field(name), now)
    return lambda page: test(_time(page, name))


def _time(page: Page, name: str) -> str:
    found = page.created if name == "created_time" else page.edited
    return found.replace(second=0, microsecond=0).isoformat()


def _of_property(given: Given, source: DataSource, now: datetime) -> Fits:
    name = given.field("property").of(str)
    one = source.find(name)
    if one is None:
        raise invalid(f"Could not find property with name or id: {name}")
    kind = next((key for key in given.value if key not in ("property", "type")), "")
    if kind != one.kind:
        raise invalid(f"database property {one.kind} does not match filter {kind}")
    test = _TESTS[_family(kind)](given.field(kind), one, now)
    if kind in TEXTS and "equals" in given.value[kind]:
        return _Equals(one.id, given.field(kind).field("equals").text().casefold())
    if kind in TIMES:
        return lambda page: test(_time(page, kind))
    return lambda page: test(page.values.get(one.id))


def _family(kind: str) -> str:
    if kind in TEXTS:
        return "text"
    if kind in (*TIMES, "date"):
        return "date"
    if kind not in _TESTS:
        raise invalid(f"Filters of type {kind} are not supported here.")
    return kind


def _condition(given: Given, allowed: tuple[str, ...]) -> tuple[str, Given]:
    names = [name for name in given.of(dict) if name in allowed]
    if len(names) != 1 or len(given.value) != 1:
        raise given.wrong("should have one of " + ", ".join(f"`{name}`" for name in allowed))
    value = given.field(names[0])
    if names[0] in ("is_empty", "is_not_empty") and value.value is not True:
        raise value.wrong("should be `true`")
    return names[0], value


_EMPTINESS = ("is_empty", "is_not_empty")


def _text(given: Given, _one: Property, _now: datetime) -> Test:
    name, value = _condition(given, (*_COMPARED, *_EMPTINESS))
    if name in _EMPTINESS:
        return lambda text: (text_of(text) == "") == (name == "is_empty")
    # Notion compares texts without regard to case.
    wanted = value.text().casefold()
    compare = _COMPARED[name]
    return lambda text: compare(text_of(text).casefold(), wanted)


_COMPARED: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda text, wanted: text == wanted,
    "does_not_equal": lambda text, wanted: text != wanted,
    "contains": lambda text, wanted: wanted in text,
    "does_not_contain": lambda text, wanted: wanted not in text,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}


def _number(given: Given, _one: Property, _now: datetime) -> Test:
    compared: dict[str, Callable[[Any, Any], bool]] = {
        "equals": lambda number, wanted: number == wanted,
        "does_not_equal": lambda number, wanted: number != wanted,
        "greater_than": lambda number, wanted: number > wanted,
        "less_than": lambda number, wanted: number < wanted,
        "greater_than_or_equal_to": lambda number, wanted: number >= wanted,
        "less_than_or_equal_to": lambda number, wanted: number <= wanted,
    }
    name, value = _condition(given, (*compared, *_EMPTINESS))
    if name in _EMPTINESS:
        return lambda number: (number is None) == (name == "is_empty")
    wanted, compare = value.number(), compared[name]
    return lambda number: name == "does_not_equal" if number is None else compare(number, wanted)


def _checkbox(given: Given, _one: Property, _now: datetime) -> Test:
    name, value = _condition(given, ("equals", "does_not_equal"))
    wanted = value.of(bool) == (name == "equals")
    return lambda checked: bool(checked) == wanted


def _select(given: Given, one: Property, _now: datetime) -> Test:
    name, value = _condition(given, ("equals", "does_not_equal", *_EMPTINESS))
    if name in _EMPTINESS:
        return lambda chosen: (not options_of(one, chosen)) == (name == "is_empty")
    wanted = value.text()
    return lambda chosen: (wanted in _names(one, chosen)) == (name == "equals")


def _multi_select(given: Given, one: Property, _now: datetime) -> Test:
    name, value = _condition(given, ("contains", "does_not_contain", *_EMPTINESS))
    if name in _EMPTINESS:
        return lambda chosen: (not options_of(one, chosen)) == (name == "is_empty")
    wanted = value.text()
    return lambda chosen: (wanted in _names(one, chosen)) == (name == "contains")


def _names(one: Property, chosen: Any) -> list[str]:
    return [option["name"] for option in options_of(one, chosen)]


def _date_property(given: Given, _one: Property, now: datetime) -> Test:
    return _date(given, now)


_SPANS = {
    "past_week": (-7, 0), "past_month": (-30, 0), "past_year": (-365, 0),
    "next_week": (0, 7), "next_month": (0, 30), "next_year": (0, 365),
}  # fmt: skip
_BEFORE: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda found, wanted: found == wanted,
    "before": lambda found, wanted: found < wanted,
    "after": lambda found, wanted: found > wanted,
    "on_or_before": lambda found, wanted: found <= wanted,
    "on_or_after": lambda found, wanted: found >= wanted,
}


def _date(given: Given, now: datetime) -> Test:
    name, value = _condition(given, (*_BEFORE, *_SPANS, "this_week", *_EMPTINESS))
    if name in _EMPTINESS:
        return lambda date: (date is None) == (name == "is_empty")
    if name in _BEFORE:
        wanted = moment(value)
        return partial(_compared, _BEFORE[name], wanted, is_day(value.value))
    first, last = _SPANS.get(name) or (-((now.weekday() + 1) % 7), 7 - (now.weekday() + 1) % 7)
    begin, end = now + timedelta(days=first), now + timedelta(days=last)
    return lambda date: date is not None and begin <= parsed(_start(date)) <= end


def _compared(compare: Callable[[Any, Any], bool], wanted: datetime, by_day: bool, date: Any) -> bool:
    if date is None:
        return False
    found = parsed(_start(date))
    if by_day:
        return compare(found.astimezone(UTC).date(), wanted.astimezone(UTC).date())
    return compare(found, wanted)


def _start(date: Any) -> str:
    return date["start"] if isinstance(date, dict) else date


_TESTS: dict[str, Callable[[Given, Property, datetime], Test]] = {
    "text": _text,
    "number": _number,
    "checkbox": _checkbox,
    "select": _select,
    "status": _select,
    "multi_select": _multi_select,
    "date": _date_property,
}
