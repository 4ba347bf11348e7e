"""What holds for a run that fetches from an API: run config aside, `sync_settings`, variables, YAML, the default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components.blocks import Block
from sync_pipelines.components.schema import DURATION
from sync_pipelines.engine.durations import seconds
from sync_pipelines.engine.settings import above_zero, positive, resolve, up_to
from sync_pipelines.sources.rest.endpoint import FetchSettings

T = TypeVar("T")

_LONGEST = timedelta(days=36_500)
"""Of an interval: PostgreSQL has no time before the year -4713, and Python none before the year 1."""

_SLOWEST = 1e-5
"""Requests a second: less than one a day; next to none, the time until the next one is no number any more."""

_MOST_AT_ONCE, _MOST_TRIES = 100, 20
"""A request under way is a thread and a connection."""


class FetchBlock(Block):
    """How often, how fast and how much is fetched."""

    interval: str = Field(default="12h", description="After this time a record is fetched again.")
    rate_limit: float = Field(
        default=10.0, ge=_SLOWEST, description="Requests a second, over all processes with this key."
    )
    max_concurrent: int = Field(default=5, ge=1, le=_MOST_AT_ONCE, description="Requests under way at once.")
    retry_attempts: int = Field(
        default=3, ge=1, le=_MOST_TRIES, description="Tries of one request, the first one included."
    )
    patience: str = Field(default="60s", description="For so long an API that answers nobody is asked again.")
    requests_a_day: int | None = Field(default=None, ge=1, description="A budget (UTC days); any number if left out.")
    failures_warn: float = Field(
        default=0.05, ge=0, le=1, description="Share of records without a document: a warning."
    )
    failures_error: float = Field(default=0.2, ge=0, le=1, description="And an error.")
    sample: int = Field(default=20, ge=0, le=1000, description="Records that a deep check fetches anew.")

    shapes: ClassVar[dict[str, Any]] = {name: {"pattern": DURATION} for name in ("interval", "patience")}

    @field_validator("interval", "patience")
    @classmethod
    def _duration(cls, value: str) -> str:
        span(value)
        return value

    @model_validator(mode="after")
    def _warned_before_an_error(self) -> FetchBlock:
        if self.failures_warn > self.failures_error:
            more = f"failures_warn {self.failures_warn} is more than failures_error {self.failures_error}"
            raise ValueError(f"{more}: nobody would be warned")
        return self


def span(text: str) -> timedelta:
    """A duration above zero.

    Raises:
        ValueError: it is none.
    """
    found = timedelta(seconds=seconds(text))
    if not found:
        raise ValueError("expected a duration above 0, such as 12h or 90m")
    if found > _LONGEST:
        raise ValueError(f"expected a duration of up to {_LONGEST.days}d")
    return found


def minutes(text: str) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=up_to(_LONGEST // timedelta(minutes=1))(text))


def rate(text: str) -> float:
    """Requests a second."""
    found = above_zero(text)
    if found < _SLOWEST:
        raise ValueError(f"expected a number of {_SLOWEST:g} or more")
    return found


def like(default: str) -> Callable[[str], str]:
    """How a value is read that a document names by itself: a whole number where the document's is one."""
    return _digits if default.isdecimal() else _not_blank


def several_like(default: str) -> Callable[[str], str]:
    """How several values, parted by commas, are read; a list of none would ask for nothing, and nobody would see it."""
    parse = _digits if all(map(str.isdecimal, listed(default))) else str

    def read(text: str) -> str:
        found = listed(text)
        if not found:
            raise ValueError("expected at least one value; several are parted by commas")
        for item in found:
            parse(item)
        return text

    return read


def listed(text: str) -> list[str]:
    """Values that are parted by commas, each once."""
    return list(dict.fromkeys(part for item in text.split(",") if (part := item.strip())))


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a value that is not blank")
    return text


def _digits(text: str) -> str:
    if not text.strip().isdecimal():
        raise ValueError("expected a whole number")
    return text.strip()


def switch(text: str) -> bool:
    """On or off."""
    word = text.strip().lower()
    if word not in _SWITCH:
        raise ValueError("expected true or false")
    return _SWITCH[word]


_SWITCH = {**dict.fromkeys(("true", "on", "yes", "1"), True), **dict.fromkeys(("false", "off", "no", "0"), False)}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value that `sync_settings` may hold.

    Args:
        name: behind `<sync>.` in setting_key. variable: behind `<SYNC>_` and `SYNC_`.
        parse: text → value. meaning: its description in `sync_settings`.
    """

    name: str
    variable: str
    parse: Callable[[str], Any]
    meaning: str


SETTINGS = (
    Setting(
        name="sync_interval",
        variable="interval",
        parse=span,
        meaning="After this time a record is fetched again (12h, 90m).",
    ),
    Setting(name="batch_size", variable="batch_size", parse=positive, meaning="Records a transaction."),
    Setting(name="rate_limit", variable="rate_limit", parse=rate, meaning="Requests a second."),
    Setting(
        name="max_concurrent",
        variable="max_concurrent",
        parse=up_to(_MOST_AT_ONCE),
        meaning="Requests under way at once.",
    ),
    Setting(
        name="retry_attempts",
        variable="retry_attempts",
        parse=up_to(_MOST_TRIES),
        meaning="Tries of one request.",
    ),
    Setting(name="patience", variable="patience", parse=span, meaning="For so long a silent API is asked again."),
    Setting(name="requests_a_day", variable="requests_a_day", parse=positive, meaning="A budget of requests a day."),
    Setting(name="enable_auto", variable="enable_auto", parse=switch, meaning="Whether sensor and schedules run it."),
)
"""Those of a sync that fetches."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Held:
    """Where the values of one sync may stand: `stored` are those of `sync_settings`, by whole key."""

    sync: str
    stored: Mapping[str, str]
    environment: Mapping[str, str]

    def value(self, name: str, *, yaml: T | None = None, default: T) -> T:
        """What holds now.

        Raises:
            ConfigurationError: the place that decides holds no such value.
        """
        setting = _BY_NAME[name]
        return resolve(
            setting.variable,
            sync=self.sync,
            parse=setting.parse,
            default=default,
            stored=self.stored.get(f"{self.sync}.{name}"),
            environment=self.environment,
            yaml=yaml,
        )

    def text(self, name: str, default: str, *, parse: Callable[[str], str]) -> str:
        """A value that a document names by itself (how many reviews, which languages)."""
        found = self.stored.get(f"{self.sync}.{name}")
        return resolve(name, sync=self.sync, parse=parse, default=default, stored=found, environment=self.environment)


def fetch_settings(block: FetchBlock, held: Held) -> FetchSettings:
    """What holds for a run that begins now.

    Raises:
        ConfigurationError: a place that decides holds no such value.
    """
    return FetchSettings(
        interval=_interval(block, held),
        rate_limit=held.value("rate_limit", yaml=block.rate_limit, default=10.0),
        max_concurrent=held.value("max_concurrent", yaml=block.max_concurrent, default=5),
        retry_attempts=held.value("retry_attempts", yaml=block.retry_attempts, default=3),
        patience=held.value("patience", yaml=span(block.patience), default=timedelta(minutes=1)),
        budget=held.value("requests_a_day", yaml=block.requests_a_day, default=None),
        sample=block.sample,
    )


def _interval(block: FetchBlock, held: Held) -> timedelta:
    """SYNC_INTERVAL_MINUTES stands in where no interval is set by its own name."""
    by_minutes = resolve(
        "interval_minutes",
        sync=held.sync,
        parse=minutes,
        default=None,
        environment=held.environment,
    )
    return held.value("sync_interval", yaml=by_minutes or span(block.interval), default=timedelta(hours=12))
