"""Hotels of an API into PostgreSQL: against dlt's REST source on one stand-in, and what of an allowed rate is used."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from statistics import median

from benchmarks.children import Took, ours
from benchmarks.delta_load import seconds, times
from benchmarks.peers import dlt
from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage
from sync_pipelines import migrations
from sync_pipelines.sandbox.cupid.server import CupidServer

NAME = "rest-load"
LEAST_RATE = 0.95
_UNLIMITED = 100_000


def run(stage: Stage, *, quick: bool) -> Result:
    """First loads and second ones over unchanged data, in turn; then one at a rate that the API allows."""
    hotels, rate, rounds = (200, 40, 1) if quick else (1_000, 50, 3)
    migrations.upgrade(stage.url, branch="hotels", schema="public")
    with CupidServer(stage.lake / "cupid") as cupid, _knowing(cupid, rate=_UNLIMITED):
        ids = cupid.ids(hotels)
        stage.execute("INSERT INTO property_ids (hotel_id) SELECT unnest(%s::bigint[])", ids)
        took: dict[str, list[Took]] = {name: [] for name in ("first", "again", "dlt first", "dlt again")}
        for number in range(rounds):
            _forget(stage)
            for name in ("first", "again"):
                took[name].append(ours("hotels"))
            for name in ("dlt first", "dlt again"):
                took[name].append(_dlt(stage, cupid, ids, f"hotels_{number}"))
            stage.say(f"{NAME}: " + ", ".join(f"{name} {found[-1].seconds:.1f} s" for name, found in took.items()))
        with _knowing(cupid, rate=rate):
            _forget(stage)
            cupid.limit(rate)
            limited = ours("hotels")
    return _result(hotels, rate, took, limited)


@contextmanager
def _knowing(cupid: CupidServer, *, rate: int) -> Generator[None]:
    """The environment names the API and the rate for what is started within."""
    names = {**cupid.variables, "HOTELS_RATE_LIMIT": str(rate), "HOTELS_BATCH_SIZE": "50"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _forget(stage: Stage) -> None:
    """Nothing was fetched yet."""
    stage.execute("TRUNCATE properties, property_payloads, property_checks, property_changes CASCADE")


def _dlt(stage: Stage, cupid: CupidServer, ids: list[int], name: str) -> Took:
    # dlt wants a password, for which this server does not ask
    address = "postgresql" + stage.url[stage.url.index("://") :].replace("@", ":none@", 1)
    task = {"url": address, "api": cupid.url, "key": cupid.key, "ids": ids, "pipeline": name}
    return dlt(stage.say, task, data=stage.lake / "dlt", program="dlt_rest.py")


def _result(hotels: int, rate: int, took: dict[str, list[Took]], limited: Took) -> Result:
    used = hotels / limited.told["writing"] / rate
    return Result(
        name=NAME,
        compares=f"{hotels:,} hotels, a request each, into PostgreSQL, against dlt's REST source on the same stand-in; "
        f"and at {rate} requests a second",
        figures=(
            ratio("of the allowed rate that is used", used, at_least=LEAST_RATE),
            ratio("dlt / ours, a first load", times(took["dlt first"], took["first"])),
            ratio("dlt / ours, nothing changed", times(took["dlt again"], took["again"])),
            *(figure(f"{name}: the work", seconds(found), "s") for name, found in took.items()),
            figure("ours: peak", median(item.peak for item in took["first"]), "MB"),
            figure("dlt: peak", median(item.peak for item in took["dlt first"]), "MB"),
        ),
        notes=(
            "Ours writes five tables, payloads, history and checks, and compares field by field; dlt merges into its "
            "own tables, one for each list, and asks in as many threads as it has by default.",
        ),
    )
