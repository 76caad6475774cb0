"""Requests that are here together are committed together: one writer thread, one connection, one COMMIT per group.

A group is what has come when its time has (see `pace`), or while the last one committed. The thread and the loop wake
each other once for a group, however many requests it has.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import psycopg

from services.common import crash
from services.common.event import Event
from services.common.postgres import Link
from services.ingestion_api import metrics
from services.ingestion_api.pace import Pace
from services.ingestion_api.store import Accepted, Outcome, commit_group

log = logging.getLogger(__name__)
_POISON: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Errors of what was asked, not of the server: another try gives the same answer."""


class UnavailableError(Exception):
    """Postgres did not answer in time. Whether the event is stored is not known; sending it again is safe."""


class StoreError(Exception):
    """Postgres refused the event for a reason that validation should have caught. The log has it."""


Result = Outcome | UnavailableError | StoreError
"""What became of one event of a request, or why that is not known."""


class _Ticket:
    """One request that waits: for its events to be committed, or (no event) for a sign of life."""

    __slots__ = ("abandoned", "deadline_s", "done", "events", "expiry", "results")

    def __init__(self, events: Sequence[Event], deadline_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.events = events
        self.deadline_s = deadline_s
        """On the monotonic clock."""
        self.done: asyncio.Future[list[Result]] = loop.create_future()
        self.expiry: asyncio.TimerHandle | None = None
        self.results: list[Result] = []
        """One for each event; for a sign of life that did not come, why."""
        self.abandoned = False

    def expire(self) -> None:
        """Loop: the time is up."""
        self.abandoned = True
        if not self.done.done():
            self.done.set_exception(UnavailableError("Postgres does not answer"))

    def settle(self) -> None:
        """Loop: the writer has the results."""
        if self.expiry is not None:
            self.expiry.cancel()
        if not self.done.done():
            self.done.set_result(self.results)


class GroupCommit:
    """The writer. `start` it with the loop, `submit` in the loop, `stop` it when no request is left."""

    def __init__(
        self,
        link: Link,
        member: str,
        *,
        deadline_s: float,
        max_events: int,
        after_commit: Callable[[list[Accepted]], None],
        pace: Pace,
    ) -> None:
        """Args:
        link: the writer's own connection.
        member: this replica's name.
        deadline_s: how long a request waits at most.
        max_events: no group grows any more once it has so many.
        after_commit: gets what was accepted, after the group's requests are answered; called in the writer thread,
            it must not wait.
        pace: when groups leave.
        """
        self._link = link
        self._member = member
        self._deadline_s = deadline_s
        self._max_events = max_events
        self._after_commit = after_commit
        self._pace = pace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathered: list[_Ticket] = []
        """What the loop took in this turn."""
        self._waiting: queue.SimpleQueue[list[_Ticket] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the writer thread, for requests of `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Lets the writer finish what waits, for `timeout_s` at most, and closes the connection."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._link.close()

    async def submit(self, event: Event) -> Outcome:
        """Commits `event` with whatever else is waiting.

        Raises:
            UnavailableError: not within the deadline.
            StoreError: refused by Postgres.
        """
        [result] = await self._wait([event])
        if isinstance(result, Exception):
            raise result
        return result

    async def submit_all(self, events: Sequence[Event]) -> list[Result]:
        """Commits `events` together, with whatever else is waiting; what became of each, in their order.

        One that Postgres refuses is told as a StoreError and sinks no other. Where that took several statements, and
        Postgres went away between them, what is not known is told as an UnavailableError.

        Raises:
            UnavailableError: not within the deadline; of none is it known.
        """
        results = await self._wait(events)
        if all(isinstance(result, UnavailableError) for result in results):
            raise UnavailableError("Postgres does not answer")
        return results

    def check(self) -> None:
        """From another thread than the loop's: returns when Postgres gave a sign of life on the writer's own
        connection. Raises UnavailableError."""
        assert self._loop is not None, "start it first"  # noqa: S101  # a mistake of ours, not of a caller
        if asyncio.run_coroutine_threadsafe(self._wait(()), self._loop).result():
            raise UnavailableError("Postgres does not answer")

    async def _wait(self, events: Sequence[Event]) -> list[Result]:
        loop = self._loop
        assert loop is not None, "start it first"  # noqa: S101  # a mistake of ours, not of a caller
        ticket = _Ticket(events, time.monotonic() + self._deadline_s, loop)
        ticket.expiry = loop.call_later(self._deadline_s, ticket.expire)
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(ticket)
        try:
            return await ticket.done
        except asyncio.CancelledError:
            ticket.abandoned = True
            raise

    def _hand_over(self) -> None:
        """At the end of the loop's turn: one wake-up of the writer for all that the turn brought."""
        gathered, self._gathered = self._gathered, []
        self._waiting.put(gathered)

    def _run(self) -> None:
        running = True
        while running:
            group, running = self._next()
            # Whoever gave up has been answered 503: writing its event now would only surprise its client.
            live = [ticket for ticket in group if not ticket.abandoned]
            if live:
                self._settle(live)

    def _next(self) -> tuple[list[_Ticket], bool]:
        """The next group, when its time has come, and whether another one may follow."""
        given = self._waiting.get()
        due_s = self._pace.due_s()
        # Asleep, not waiting at the queue: whoever comes meanwhile must not wake this thread.
        time.sleep(max(0.0, due_s - time.monotonic()))
        group, running = self._gather(given)
        self._pace.left(due_s, sum(len(ticket.events) for ticket in group))
        return group, running

    def _gather(self, given: list[_Ticket] | None) -> tuple[list[_Ticket], bool]:
        """`given` and what else is here, as much as a group may hold."""
        group: list[_Ticket] = []
        events = 0
        while given is not None:
            group += given
            events += sum(len(ticket.events) for ticket in given)
            if events >= self._max_events:
                return group, True
            try:
                given = self._waiting.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _settle(self, group: list[_Ticket]) -> None:
        """Failure policy: closed. Whatever goes wrong, every ticket gets an answer, and never a 201 without COMMIT."""
        events = [event for ticket in group for event in ticket.events]
        results, accepted = self._commit(events, max(ticket.deadline_s for ticket in group))
        if accepted:
            crash.point("api.after-commit")
        gone = next((result for result in results if isinstance(result, UnavailableError)), None)
        left = iter(results)
        for ticket in group:
            ticket.results = list(islice(left, len(ticket.events))) if ticket.events else [gone] if gone else []
        self._answer(group)
        if accepted:
            crash.point("api.before-produce")
            self._after_commit(accepted)

    def _answer(self, group: list[_Ticket]) -> None:
        assert self._loop is not None  # noqa: S101  # the thread was started with it
        try:
            self._loop.call_soon_threadsafe(_settle_all, group)
        except RuntimeError:
            log.debug("the loop ended before %d requests could be answered", len(group))

    def _commit(self, events: Sequence[Event], until_s: float) -> tuple[list[Result], list[Accepted]]:
        """What became of each of `events`, and which are to be handed over. With no event: nothing, or why not."""
        started_s = time.monotonic()
        failed: UnavailableError | StoreError
        try:
            settled = self._link.run(
                lambda connection: commit_group(connection, events, self._member),
                until_s=until_s,
                stop=self._stopping.is_set,
            )
        except _POISON as error:
            if len(events) > 1:
                log.warning("a group of %d was refused, committing its halves reason=%s", len(events), error)
                return self._commit_halves(events, until_s)
            log.error("an event was refused by Postgres reason=%s", error, extra={"transaction_id": _id(events)})
            failed = StoreError("Postgres refused the event")
        except psycopg.Error:
            failed = UnavailableError("Postgres does not answer")
        except Exception:  # the writer serves every request: it must outlive a bug in one group
            log.exception("a group could not be committed")
            failed = StoreError("the group could not be committed")
        else:
            if events:
                metrics.GROUP_EVENTS.observe(len(events))
                metrics.COMMIT_SECONDS.observe(time.monotonic() - started_s)
            return list(settled.outcomes), settled.accepted
        return [failed] * max(1, len(events)), []

    def _commit_halves(self, events: Sequence[Event], until_s: float) -> tuple[list[Result], list[Accepted]]:
        middle = len(events) // 2
        first, first_accepted = self._commit(events[:middle], until_s)
        second, second_accepted = self._commit(events[middle:], until_s)
        return first + second, first_accepted + second_accepted


def _settle_all(group: list[_Ticket]) -> None:
    for ticket in group:
        ticket.settle()


def _id(events: Sequence[Event]) -> str:
    return events[0].transaction_id if events else ""
