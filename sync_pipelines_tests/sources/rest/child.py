"""A process with a client of its own: `child.py URL KEY LEDGER RATE FIRST LAST` fetches these of the stand-in's ids."""

from __future__ import annotations

import sys

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.sandbox.cupid.hotels import some_ids
from sync_pipelines.sources.rest.client import ClientSettings, RestClient, auth_headers
from sync_pipelines_tests.sources.rest.helpers import fetched


def main(url: str, key: str, ledger_url: str, rate: str, first: str, last: str) -> None:
    headers = auth_headers(key, header="x-api-key", scheme=None)
    settings = ClientSettings(base_url=url, headers=headers, rate_limit=float(rate))
    with Ledger(ledger_url) as ledger, RestClient(settings, rate=SharedRate(ledger, settings.api)) as client:
        print(len(fetched(client, some_ids(int(last))[int(first) :])))


if __name__ == "__main__":
    main(*sys.argv[1:])
