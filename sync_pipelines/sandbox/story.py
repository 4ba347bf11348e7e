"""The steps of the demo: each runs a real Dagster run and asks both sides afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.proof import Proof
from sync_pipelines.silence import silenced

if TYPE_CHECKING:
    from sync_pipelines.execution import Progress


_PROGRESS_SECONDS = 5.0


class DemoFailedError(Exception):
    """A step did not do what it was to show."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the summary."""

    step: str
    table: str
    proof: Proof
    counts: Counts
    seconds: float

    def cells(self) -> list[str]:
        run = self.counts
        numbers = [self.proof.source_count, self.proof.target_count]
        numbers += [run.upserted, run.metadata_only, run.deleted, run.embedded_texts]
        equal = "[green]yes[/]" if self.proof.equal else "[red]NO[/]"
        return [self.step, self.table, *map(str, numbers), f"{self.seconds:.1f}", equal]


@dataclass(kw_only=True)
class Story:
    """What has been shown so far.

    Args:
        console: on a descriptor of its own: what a run prints is silenced meanwhile.
    """

    console: Console
    lines: list[Line] = field(default_factory=list)
    last_word: float = 0.0

    @property
    def good(self) -> bool:
        """Whether source and target were equal after every step."""
        return all(line.proof.equal for line in self.lines)

    def tell(self, text: str) -> None:
        """A heading."""
        self.console.rule(text, align="left")

    def sync(self, step: str, path: str, **options: Any) -> Line:
        """Run one table through Dagster, prove it, and keep the numbers.

        Args:
            step: its name in the summary.
            path: `sync/table`.
            options: as for `sync_pipelines.client.trigger`.

        Raises:
            DemoFailedError: the run failed.
        """
        from sync_pipelines import client
        from sync_pipelines.registry import tables

        bound = tables(path)[0]
        started = time.monotonic()
        with silenced():
            run_id = client.trigger(
                bound.component.sync, table=bound.component.table_name, wait=True, on_progress=self._progress, **options
            )
        seconds = time.monotonic() - started
        state = client.status(run_id)
        if state.state != "completed":
            raise DemoFailedError(f"{step}: run {run_id} of {path} is {state.state}: {state.error}")
        proof = bound.prove()
        with bound.resources.ledger.ledger() as ledger:
            counts = ledger.last_runs(*bound.binding().place, limit=1)[0].counts
        return self.keep(step, path, proof, counts, seconds)

    def repair(self, path: str, *, deep: bool = False, records: int) -> Line:
        """Repair one table through Dagster, prove it, and keep the numbers.

        Args:
            deep: look at values, not only at fingerprints.
            records: how many it must mend.

        Raises:
            DemoFailedError: the run failed, or mended another number.
        """
        from sync_pipelines import client
        from sync_pipelines.registry import tables

        bound = tables(path)[0]
        place = bound.binding().place
        with silenced():
            run_id = client.repair(place[0], table=place[1], deep=deep, wait=True)
        state = client.status(run_id)
        if state.state != "completed":
            raise DemoFailedError(f"repair: run {run_id} is {state.state}: {state.error}")
        with bound.resources.ledger.ledger() as ledger:
            done = ledger.last_repair(*place, run_id=run_id)
            counts = ledger.logs(*place, run_id=run_id, limit=1)[0].counts
        self.expect("records mended", done.repaired if done else 0, records)
        return self.keep("repair", path, bound.prove("deep" if deep else "quick"), counts, done.seconds if done else 0)

    def keep(self, step: str, path: str, proof: Proof, counts: Counts, seconds: float) -> Line:
        """Keep a step's numbers for the summary, and say how it ended."""
        line = Line(step=step, table=path, proof=proof, counts=counts, seconds=seconds)
        self.lines.append(line)
        self.console.print(f"{step}: {path}: {'equal' if proof.equal else 'NOT equal'} after {seconds:.1f} s")
        return line

    def _progress(self, progress: Progress) -> None:
        """A line every few seconds: a long step must not look like a standstill."""
        if progress.counts is None or time.monotonic() - self.last_word < _PROGRESS_SECONDS:
            return
        self.last_word = time.monotonic()
        counts = progress.counts
        embedded = max(counts.embedded_texts, progress.embedded)
        self.console.print(
            f"  {progress.table}: {counts.read} records read, {embedded} texts embedded, {progress.seconds:.0f} s"
        )

    def expect(self, what: str, found: Any, wanted: Any) -> None:
        """Stop where a step did something else than it is to show."""
        if found != wanted:
            raise DemoFailedError(f"{what}: expected {wanted!r}, found {found!r}")
