"""`python -m benchmarks [NAME …] [--quick] [--json FILE]`: run, show, and say whether the targets are met."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import (
    delta_back,
    delta_growth,
    delta_load,
    delta_proof,
    delta_upsert,
    freshness,
    graph_consume,
    graph_growth,
    graph_latency,
    io_manager,
    machine,
    memory,
    metadata_only,
    proof,
    publishing,
    rest_load,
    run_times,
    trigger_cost,
    unchanged_resync,
)
from benchmarks.results import Result, show, write_json
from benchmarks.stage import stage
from sync_pipelines.sandbox.environment import Sandbox

# The largest last: its rows and items stay in the servers' files.
MODULES = (
    *(unchanged_resync, io_manager, metadata_only, trigger_cost, publishing, run_times, freshness, proof, memory),
    *(graph_consume, graph_latency, graph_growth, rest_load),
    *(delta_back, delta_load, delta_upsert, delta_proof, delta_growth),
)
BENCHMARKS = {module.NAME: module.run for module in MODULES}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds: under 10 minutes in all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, and pictures beside it")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return given


def run_all(names: Sequence[str], *, quick: bool, say: Callable[[str], None]) -> tuple[list[Result], list[str]]:
    """Each benchmark in a database of its own, on servers that all of them share; and those that failed."""
    results, failed = [], []
    with Sandbox.ephemeral() as sandbox:
        for name in names:
            say(f"{name} …")
            began = time.monotonic()
            try:
                with stage(sandbox, name.replace("-", "_"), say) as where:
                    result = BENCHMARKS[name](where, quick=quick)
            except Exception:  # what the others found in half an hour must not be lost
                say(f"{name} failed:\n{traceback.format_exc()}")
                failed.append(name)
                continue
            results.append(replace(result, seconds=time.monotonic() - began))
            say(f"{name}: {result.compares}: {results[-1].seconds:.0f} s")
    return results, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 when every target is met, 1 when one is missed or a benchmark failed."""
    given = parse(sys.argv[1:] if arguments is None else arguments)
    # What runs log of themselves is not asked for here.
    logging.disable(logging.INFO)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    progress = Console(stderr=True, soft_wrap=True)
    notes = machine.notes(machine.load())
    say: Callable[[str], None] = lambda line: progress.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False)  # noqa: E731
    results, failed = run_all(given.names or list(BENCHMARKS), quick=given.quick, say=say)
    show(results, notes, Console(width=None if sys.stdout.isatty() else 120))
    if given.json:
        write_json(given.json, results, notes)
    missed = [(result.name, figure.name) for result in results for figure in result.missed]
    for name, what in missed:
        progress.print(f"[bold red]missed[/bold red] {name}: {what}")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
