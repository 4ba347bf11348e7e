"""One stand-in of Cupid a session, empty before each test, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sync_pipelines.engine.limiter import LocalRate
from sync_pipelines.engine.rates import RateKeeper
from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines.sources.rest.client import ClientSettings, RestClient, auth_headers

Connect = Callable[..., RestClient]


@pytest.fixture(scope="session")
def _cupid() -> Iterator[Cupid]:
    with Cupid(key="cupid-4f1d8e0a77c2") as found:
        yield found


@pytest.fixture
def cupid(_cupid: Cupid) -> Cupid:
    """The stand-in, as new."""
    _cupid.reset()
    return _cupid


def settings_of(cupid: Cupid, **options: Any) -> ClientSettings:
    """As fast as the test may be; everything else as given."""
    usual = {
        "base_url": cupid.url,
        "headers": auth_headers(cupid.key, header="x-api-key", scheme=None),
        "rate_limit": 1000.0,
        "backoff": 0.01,
        "timeout": 5.0,
        "sync": "hotels",
        "table": "properties",
        "key_name": "CUPID_API_KEY",
        "url_name": "CUPID_BASE_URL",
    }
    return ClientSettings(**(usual | options))


@pytest.fixture
def connect(cupid: Cupid) -> Iterator[Connect]:
    """Makes a client with a rate of its own; it is closed at the end."""
    with ExitStack() as stack:

        def make(*, rate: RateKeeper | None = None, **options: Any) -> RestClient:
            return stack.enter_context(RestClient(settings_of(cupid, **options), rate=rate or LocalRate()))

        yield make
