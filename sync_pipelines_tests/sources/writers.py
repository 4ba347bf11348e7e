"""Twenty applications at once: transactions that commit late, roll back, and use savepoints."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg2

from sync_pipelines.engine.urls import normalise_url

KEYS = 2000
_ONCE = 1_000_000
"""Keys from here on are inserted once and never touched again."""


@dataclass(frozen=True, kw_only=True)
class Writers:
    """Writers on table `item (id int, name text, amount int, changed timestamptz)`.

    Args:
        seconds: how long they write; delay: the longest time between a transaction's last write and its end.
        deletes: whether they delete rows and change keys.
    """

    url: str
    seconds: float
    delay: float
    deletes: bool = True
    count: int = 20
    failures: list[BaseException] = field(default_factory=list)

    def run(self, meanwhile: Callable[[], None]) -> None:
        """Let them write, and call `meanwhile` again and again until all have ended."""
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(self.count)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            meanwhile()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(self, number: int) -> None:
        dice = random.Random(number)
        connection = psycopg2.connect(normalise_url(self.url).libpq)
        once = _ONCE * (number + 1)
        until = time.monotonic() + self.seconds
        try:
            while time.monotonic() < until:
                once += 1
                # Two writers that meet in other orders: the application would try again.
                with suppress(psycopg2.errors.DeadlockDetected, psycopg2.errors.UniqueViolation):
                    self._transaction(connection, dice, once)
                connection.rollback()
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()

    def _transaction(self, connection, dice: random.Random, once: int) -> None:
        with connection.cursor() as cursor:
            if dice.random() < 0.2:
                cursor.execute("SELECT pg_sleep(%s)", (dice.random() * self.delay / 2,))
            cursor.execute("INSERT INTO item VALUES (%s, 'once', 0, now())", (once,))
            for _ in range(dice.randint(1, 5)):
                self._change(cursor, dice)
            if dice.random() < 0.2:
                cursor.execute("SAVEPOINT s")
                self._change(cursor, dice)
                cursor.execute("ROLLBACK TO SAVEPOINT s" if dice.random() < 0.5 else "RELEASE SAVEPOINT s")
                self._change(cursor, dice)
        time.sleep(dice.choice((0, 0, dice.random() * self.delay)))
        if dice.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()

    def _change(self, cursor, dice: random.Random) -> None:
        key, what = dice.randrange(KEYS), dice.random()
        if self.deletes and what < 0.2:
            cursor.execute("DELETE FROM item WHERE id = %s", (key,))
        elif self.deletes and what < 0.25:
            cursor.execute("UPDATE item SET id = %s, changed = now() WHERE id = %s", (dice.randrange(KEYS), key))
        else:
            cursor.execute(
                "INSERT INTO item VALUES (%s, %s, 1, now()) ON CONFLICT (id) DO UPDATE "
                "SET name = excluded.name, amount = item.amount + 1, changed = now()",
                (key, f"{dice.random()}"),
            )
