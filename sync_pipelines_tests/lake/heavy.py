"""Run as a process of its own: overwrites a table of many rows twice, and says what memory that took at most.

Arguments: the database, and how many rows of 1 KB. The second run is stopped by the guard, so that half of the table is
carried over; before both a small one warms up.
"""

from __future__ import annotations

import sys

from sync_pipelines.engine.errors import MassDeleteError
from sync_pipelines.engine.usage import peak_memory
from sync_pipelines_tests.lake.house import House, document


def main(url: str, rows: int) -> None:
    """Say the peak in MB, after the warm-up and at the end, and how many rows the table holds."""
    house, table = House(url), document(target={"table": "shop/item", "mode": "overwrite"})
    house.execute("CREATE TABLE item (id int PRIMARY KEY, body text)")
    house.capture(table)
    house.execute("INSERT INTO item VALUES (0, 'x')")
    house.sync(table)
    warm = peak_memory()
    house.execute("INSERT INTO item SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, %s) AS i", rows)
    house.sync(table)
    house.execute("DELETE FROM item WHERE id > %s", rows // 2)
    try:
        house.sync(table)
    except MassDeleteError:
        sys.stdout.write(f"{warm // 2**20} {peak_memory() // 2**20} {house.bind(table).target.count()}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
