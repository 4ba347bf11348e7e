"""Databases and stand-ins of the tests of REST syncs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import KEY, Catalogue, currency


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """The API of currencies with five of them; the environment knows it."""
    with Catalogue([currency(code) for code in ("aud", "brl", "chf", "dkk", "eur")]) as catalogue:
        monkeypatch.setenv("RATES_BASE_URL", catalogue.url)
        monkeypatch.setenv("RATES_API_KEY", KEY)
        yield catalogue


@pytest.fixture
def rates(house: House, catalogue: Catalogue) -> House:
    """A house beside that API."""
    return house
