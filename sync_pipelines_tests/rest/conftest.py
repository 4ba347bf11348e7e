"""Databases and stand-ins of the tests of REST syncs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import KEY, Catalogue, currency
from sync_pipelines_tests.rest.hotels import Hotels, migrate

_TEMPLATE = "template_hotels"


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


@pytest.fixture(scope="session")
def cupid_server() -> Iterator[Cupid]:
    """One stand-in of Cupid for the session."""
    with Cupid(key="a-key-of-cupid") as cupid:
        yield cupid


@pytest.fixture(scope="session")
def hotels_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the ledger and the tables of hotels."""
    postgres_server.create_database(_TEMPLATE)
    migrate(postgres_server.url(_TEMPLATE))
    postgres_server.seal_database(_TEMPLATE)
    return _TEMPLATE


@pytest.fixture
def hotels(
    cupid_server: Cupid, postgres_server: PostgresServer, hotels_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hotels]:
    """The sync `hotels` with a database of its own; Cupid is as new."""
    cupid_server.reset()
    monkeypatch.setenv("CUPID_BASE_URL", cupid_server.url)
    monkeypatch.setenv("CUPID_API_KEY", cupid_server.key)
    monkeypatch.setenv("HOTELS_RATE_LIMIT", "10000")
    for url in fresh_database(postgres_server, hotels_template):
        monkeypatch.setenv("DATABASE_URL", url)
        yield Hotels(House(url), cupid_server)
