"""Changed and new rows of a large table brought into its Delta table, against dlt's merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.children import Took, ours
from benchmarks.delta_load import BACKENDS, dlt_task, load, process, seconds, times
from benchmarks.lake import TABLE, change, fill
from benchmarks.peers import dlt
from benchmarks.results import Figure, Result, figure, ratio
from benchmarks.stage import Stage

NAME = "delta-upsert"
LEAST = {"recent": 15.0, "spread": 3.0}
_NAME = "upserted"


@dataclass
class Rounds:
    """Each side has a Delta table of its own, loaded from one source whose changes all sides then take, in turn.

    Args:
        rows: in the source before the first change. part: 10,000 changed and 1,000 new rows are 10 and 1 parts.
    """

    stage: Stage
    rows: int
    part: int
    peers: tuple[str, ...]
    took: dict[str, dict[str, list[Took]]] = field(default_factory=dict)

    def prepare(self) -> None:
        """The source, and a full load of each side."""
        fill(self.stage, self.rows)
        # What dlt looks for changes by; our side has the capture's log.
        self.stage.execute(f"CREATE INDEX ON {TABLE} (updated_at)")
        load(self.stage, _NAME)
        for backend in self.peers:
            self._dlt(backend, "first")

    def round(self, among: str) -> None:
        """Change rows, `recent` or `spread` over all, and let each side follow."""
        newest = {"recent": 20 * self.part, "spread": None}[among]
        change(self.stage, changed=10 * self.part, among=newest, new=self.part, first=self.rows)
        self.rows += self.part
        sides = {"ours": self._ours, **{name: lambda name=name: self._dlt(name, "upsert") for name in self.peers}}
        found = self.took.setdefault(among, {name: [] for name in sides})
        for name in sides if len(found["ours"]) % 2 == 0 else reversed(sides):
            found[name].append(sides[name]())
            self.stage.say(f"{NAME} {among}, {name}: {found[name][-1].seconds:.2f} s")

    def _ours(self) -> Took:
        done = ours("load", name=_NAME, mode="incremental")
        if done.told["upserted"] != 11 * self.part:
            raise AssertionError(f"{11 * self.part} rows were to be written: {done.told}")
        return done

    def _dlt(self, backend: str, load: str) -> Took:
        task = dlt_task(self.stage, backend, f"upserted_{backend}", load=load)
        done = dlt(self.stage.say, task, data=self.stage.lake / "dlt")
        if load == "upsert" and done.told["rows"] != 11 * self.part:
            raise AssertionError(f"dlt was to merge {11 * self.part} rows: {done.told}")
        return done


def run(stage: Stage, *, quick: bool, peers: tuple[str, ...] = BACKENDS, rows: int | None = None) -> Result:
    """Recent rows first: changes spread over all rows leave every file rewritten.

    Args:
        peers: dlt's backends that are measured. rows: another number of rows; changed are 1 % of them.
    """
    rows, rounds = rows or (50_000 if quick else 1_000_000), 1 if quick else 3
    made = Rounds(stage, rows, max(1, rows // 1000), peers)
    stage.say(f"{NAME}: {rows:,} rows …")
    made.prepare()
    for among in LEAST:
        for _ in range(rounds):
            made.round(among)
    part = made.part
    return Result(
        name=NAME,
        compares=f"an incremental sync of {10 * part:,} changed and {part:,} new rows into {rows:,} rows of 1 KB, "
        f"among the newest {20 * part:,} or spread over all, against dlt's merge; {rounds} in turn, a process each",
        figures=(*_ratios(made), *_figures(made)),
        notes=(
            "The work is without imports for all; ours is the engine's run (keys out of the capture's log), dlt's is "
            "pipeline.run() (rows by an index on updated_at).",
        ),
    )


def _ratios(made: Rounds) -> list[Figure]:
    found = []
    for among, sides in made.took.items():
        peers = [sides[name] for name in made.peers]
        if best := min(peers, key=seconds, default=None):
            found.append(ratio(f"{among} rows: dlt's best / ours", times(best, sides["ours"]), at_least=LEAST[among]))
    return found


def _figures(made: Rounds) -> list[Figure]:
    found = []
    for among, sides in made.took.items():
        for name, took in sides.items():
            side = name if name == "ours" else f"dlt, {name}"
            found.append(figure(f"{among} rows, {side}: the work", seconds(took), "s"))
            found.append(figure(f"{among} rows, {side}: whole process", process(took), "s"))
            found.append(figure(f"{among} rows, {side}: peak", max(item.peak for item in took), "MB"))
        reading = median(item.told["reading"] for item in sides["ours"])
        found.append(figure(f"{among} rows, ours: of it until the changes lay spooled", reading, "s"))
    return found
