"""What taking events costs while more and more of them wait."""

from __future__ import annotations

from statistics import median

from benchmarks.graphs import BATCH, document
from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage
from benchmarks.timing import timed
from sync_pipelines.engine.intake import MOST_EVENTS
from sync_pipelines.sandbox import academy
from sync_pipelines.sources.postgres.events import PostgresOutbox

NAME = "graph-growth"
SIZES = (10_000, 100_000, 1_000_000)
QUICK = (10_000, 100_000)
_TAKES = 30
_ENTITIES = 50_000

_HELD = """
INSERT INTO sync.sync_event_log (event_id, correlation_id, event_type, entity_type, entity_id, payload, source_version)
SELECT gen_random_uuid(), gen_random_uuid(), 'CONTENT_UPDATED', 'concept', 'c' || mod(n::bigint * 7919, {entities}),
    '{{"title": "Fractions"}}', n
FROM generate_series({first}, {last}) AS n
"""


def run(stage: Stage, *, quick: bool) -> Result:
    """Each size: some batches are taken and completed, as the consumer does it, with no graph."""
    sizes = QUICK if quick else SIZES
    for text in academy.TABLES.values():
        stage.execute(text)
    found: dict[int, tuple[float, float, float]] = {}
    pages: dict[int, int] = {}
    held = 0
    for size in sizes:
        stage.execute(_HELD.format(entities=_ENTITIES, first=held + 1, last=size))
        stage.execute("ANALYZE sync.sync_event_log")
        held = size
        found[size], pages[size] = _measured(stage), _pages(stage)
        stage.say(f"{NAME}: {size:,} events wait: {found[size][0]:.1f} ms")
    least, most = sizes[0], sizes[-1]
    return Result(
        name=NAME,
        compares=f"taking {BATCH} events with {', '.join(f'{size:,}' for size in sizes)} of their type waiting, of "
        f"{_ENTITIES:,} entities; the median of {_TAKES}, each completed before the next",
        figures=(
            ratio(f"pages that it reads, {most:,} / {least:,} waiting", pages[most] / pages[least], at_most=1.5),
            ratio(f"a take of {BATCH}, {most:,} / {least:,} waiting", found[most][0] / found[least][0], at_most=1.5),
            ratio(f"completing them, {most:,} / {least:,} waiting", found[most][1] / found[least][1]),
            *(figure(f"{size:,} waiting: a take of {BATCH}", found[size][0], "ms") for size in sizes),
            *(figure(f"{size:,} waiting: completing them", found[size][1], "ms") for size in sizes),
            *(figure(f"{size:,} waiting: a take of {MOST_EVENTS:,}", found[size][2], "ms") for size in sizes),
        ),
        notes=("An event is taken with every lower one of its entity, so a take brings some more.",),
    )


def _measured(stage: Stage) -> tuple[float, float, float]:
    """Milliseconds of a take, of completing it, and of a take as large as they come."""
    outbox = stage.bind(document("concept", detection=False)).outbox
    assert outbox is not None
    takes, completed = [], []
    for _ in range(_TAKES):
        events = []
        takes.append(timed(lambda: events.extend(outbox.take(BATCH))))  # noqa: B023
        completed.append(timed(lambda: outbox.complete([event.number for event in events])))  # noqa: B023
    large = timed(lambda: events.extend(outbox.take(MOST_EVENTS)))
    outbox.put_back([event.number for event in events])
    return median(takes) * 1000, median(completed) * 1000, large * 1000


def _pages(stage: Stage) -> int:
    """How many pages of PostgreSQL's a take touches, which says the same on a machine that others use meanwhile."""
    outbox = stage.bind(document("concept", detection=False)).outbox
    assert isinstance(outbox, PostgresOutbox)
    ((plan,),) = stage.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {outbox._take(BATCH, ())}")
    found = plan[0]["Plan"]
    return found["Shared Hit Blocks"] + found["Shared Read Blocks"]
