"""Applications that write at once: late commits, rollbacks, savepoints."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg2

UPSERT = """
INSERT INTO "Article" (id, title, body, stock, "updatedAt") VALUES (%s, %s, %s, %s, {now} AT TIME ZONE 'UTC')
ON CONFLICT (id) DO UPDATE SET title = excluded.title, body = excluded.body, stock = excluded.stock,
    "updatedAt" = excluded."updatedAt"
"""
TOUCH = """UPDATE "Article" SET stock = stock + 1, "updatedAt" = {now} AT TIME ZONE 'UTC' WHERE id = %s"""
DELETE = """DELETE FROM "Article" WHERE id = %s"""


@dataclass
class Writers:
    """Threads that write to Article until the block ends; each has a connection of its own.

    Args:
        url: the database. threads: how many. keys: on how many keys, some of them hot.
        delay: the longest pause between a transaction's last statement and its end, in seconds.
        now: the clock that the application writes into updatedAt (`now()` is the transaction's start).
    """

    url: str
    threads: int = 20
    keys: int = 2000
    delay: float = 3.0
    now: str = "now()"
    seed: int = 1
    done: Counter[str] = field(default_factory=Counter)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.threads)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if kind is None and self.errors:
            raise self.errors[0]

    def _run(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            while not self._over.is_set():
                self._transaction(connection, chance)
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.close()

    def _transaction(self, connection: Any, chance: random.Random) -> None:
        hot = chance.sample(range(self.keys // 20), 1) if chance.random() < 0.4 else []
        # in one order, so that two writers never wait for each other
        numbers = sorted({*hot, *chance.sample(range(self.keys), chance.randint(1, 5))})
        try:
            with connection.cursor() as cursor:
                for number in numbers:
                    self._in_savepoint(cursor, chance, f"k{number:04d}")
            time.sleep(chance.random() * self.delay)
            ending = "rolled back" if chance.random() < 0.1 else "committed"
            connection.rollback() if ending == "rolled back" else connection.commit()
        except psycopg2.errors.DeadlockDetected:
            connection.rollback()
            ending = "deadlocked"
        self.done[ending] += 1

    def _in_savepoint(self, cursor: Any, chance: random.Random, key: str) -> None:
        inside = chance.random() < 0.25
        if inside:
            cursor.execute("SAVEPOINT here")
        self._write(cursor, chance, key)
        if inside:
            back = chance.random() < 0.4
            cursor.execute("ROLLBACK TO SAVEPOINT here" if back else "RELEASE SAVEPOINT here")
            self.done["back to a savepoint"] += back

    def _write(self, cursor: Any, chance: random.Random, key: str) -> None:
        kind = chance.random()
        if kind < 0.25:
            cursor.execute(DELETE, (key,))
        elif kind < 0.45:
            cursor.execute(TOUCH.format(now=self.now), (key,))
        else:
            body = f"body {chance.random()} of {key}"
            values = (key, json.dumps({"en": f"title {chance.randint(1, 9)}"}), body, chance.randint(0, 9))
            cursor.execute(UPSERT.format(now=self.now), values)


def fill(world: Any, number: int) -> None:
    """Rows k0000, k0001, …, made in one statement."""
    world.execute(
        """INSERT INTO "Article" SELECT 'k' || lpad(n::text, 4, '0'), '{"en": "a title"}', 'body of ' || n, 0
        FROM generate_series(0, %s) n""",
        number - 1,
    )
