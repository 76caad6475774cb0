"""Writes outcomes to Postgres in batches, off the delivery path, and says which records are thereby finished.

An offset may be committed only after its outcome is here. With Postgres away, outcomes wait in memory; whoever adds
them watches `backlog` and stops adding at a bound.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg

from services.common import crash
from services.dispatcher.metrics import OUTCOMES_DROPPED, RECORD_BATCHES, RECORD_FAILURES
from services.dispatcher.outcome import WRITE, Outcome, parameters
from services.dispatcher.record import Position

log = logging.getLogger(__name__)
BATCH_ROWS: Final = 500
"""Above this a statement gains nothing more per row."""
BATCH_INTERVAL_S: Final = 0.1
"""How long an outcome may wait for company: part of what a kill -9 delivers again."""
RETRY_S: Final = 0.5
_REFUSED = (psycopg.DataError, psycopg.IntegrityError)


class Recorder:
    """One connection, one batch at a time, in the order in which outcomes were added."""

    def __init__(self, conninfo: str, dispatcher: str, on_recorded: Callable[[list[Position]], None]) -> None:
        """`on_recorded` gets the positions that became finished with each batch; it runs in the loop."""
        self._conninfo = conninfo
        self._dispatcher = dispatcher
        self._on_recorded = on_recorded
        self._waiting: list[tuple[Outcome | None, Position | None]] = []
        self._writing = 0
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._away_since_s: float | None = None
        self.added = 0
        """Outcomes taken, ever."""
        self.recorded = 0
        """Of these, how many are dealt with: the first `recorded` that were added."""

    @property
    def backlog(self) -> int:
        """Outcomes not yet in Postgres."""
        return len(self._waiting) + self._writing

    def add(self, outcome: Outcome | None, finished: Position | None = None) -> None:
        """Takes an outcome; `finished` is the position that it completes, if any. No outcome: in order, unwritten."""
        self._waiting.append((outcome, finished))
        self.added += 1
        self._idle.clear()
        if len(self._waiting) >= BATCH_ROWS:
            self._full.set()

    async def run(self) -> None:
        """Writes for ever; cancel it to end.

        Failure policy: closed. While Postgres does not take a batch it is tried again and nothing counts as recorded.
        """
        try:
            while True:
                if len(self._waiting) < BATCH_ROWS:
                    self._full.clear()
                    try:
                        async with asyncio.timeout(BATCH_INTERVAL_S):
                            await self._full.wait()
                    except TimeoutError:
                        pass
                if self._waiting:
                    await self._write_next()
        finally:
            if self._connection is not None:
                # Not `close()` with its farewell: a frozen server would hold the drain up.
                self._connection.pgconn.finish()

    async def drained(self) -> None:
        """Returns when nothing waits."""
        await self._idle.wait()

    async def _write_next(self) -> None:
        batch = self._waiting[:BATCH_ROWS]
        del self._waiting[:BATCH_ROWS]
        self._writing = len(batch)
        outcomes = [outcome for outcome, _ in batch if outcome is not None]
        if outcomes:
            await self._write(outcomes)
        self._writing = 0
        self.recorded += len(batch)
        finished = [position for _, position in batch if position is not None]
        if finished:
            crash.point("dispatcher.before-commit")
            self._on_recorded(finished)
        if not self._waiting:
            self._idle.set()

    async def _write(self, outcomes: list[Outcome]) -> None:
        while True:
            try:
                connection = await self._connect()
                await connection.execute(WRITE, parameters(outcomes, self._dispatcher))
            except _REFUSED as error:
                await self._write_apart(outcomes, error)
                return
            except (psycopg.Error, OSError) as error:
                await self._lost(error)
            else:
                RECORD_BATCHES.inc()
                if self._away_since_s is not None:
                    log.info("Postgres answers again after %.1fs", time.monotonic() - self._away_since_s)
                    self._away_since_s = None
                return

    async def _write_apart(self, outcomes: list[Outcome], error: psycopg.Error) -> None:
        """Finds what Postgres refuses by halving; that row alone is given up.

        Failure policy: open for the record (a transaction that was delivered must not be delivered for ever because its
        row is refused), and loud.
        """
        if len(outcomes) == 1:
            OUTCOMES_DROPPED.inc()
            log.error("outcome refused by Postgres and dropped tid=%s: %s", outcomes[0].transaction_id, _line(error))
            return
        half = len(outcomes) // 2
        await self._write(outcomes[:half])
        await self._write(outcomes[half:])

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, application_name=self._dispatcher
            )
        return self._connection

    async def _lost(self, error: Exception) -> None:
        RECORD_FAILURES.inc()
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            log.warning("Postgres does not take outcomes, delivering goes on: %s", _line(error))
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None
        await asyncio.sleep(RETRY_S)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
