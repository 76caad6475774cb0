"""Requests that are here together are committed together: one writer thread, one connection, one COMMIT per group.

Waiting costs the request thread one lock; a group forms by itself, of all that arrived while the last one committed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg

from services.common import crash
from services.common.event import Event
from services.common.postgres import Link
from services.ingestion_api import metrics
from services.ingestion_api.store import Accepted, Outcome, Settled, commit_group

log = logging.getLogger(__name__)
_POISON: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Errors of what was asked, not of the server: another try gives the same answer."""


class UnavailableError(Exception):
    """Postgres did not answer in time. Whether the event is stored is not known; sending it again is safe."""


class StoreError(Exception):
    """Postgres refused the event for a reason that validation should have caught. The log has it."""


class _Ticket:
    """One request that waits: for its event to be committed, or (no event) for a sign of life."""

    __slots__ = ("abandoned", "deadline_s", "done", "error", "event", "outcome")

    def __init__(self, event: Event | None, deadline_s: float) -> None:
        self.event = event
        self.deadline_s = deadline_s
        self.done = threading.Lock()
        self.done.acquire()
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.abandoned = False


class GroupCommit:
    """The writer. `start` it, `submit` from any thread, `stop` it when no request is left."""

    def __init__(
        self,
        link: Link,
        member: str,
        *,
        deadline_s: float,
        max_events: int,
        after_commit: Callable[[list[Accepted]], None],
    ) -> None:
        """`after_commit` is called in the writer thread, after the group's requests are answered; it must not wait."""
        self._link = link
        self._member = member
        self._deadline_s = deadline_s
        self._max_events = max_events
        self._after_commit = after_commit
        self._waiting: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Starts the writer thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Lets the writer finish what waits, for `timeout_s` at most, and closes the connection."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._link.close()

    def submit(self, event: Event) -> Outcome:
        """Commits `event` with whatever else is waiting.

        Raises:
            UnavailableError: not within the deadline.
            StoreError: refused by Postgres.
        """
        outcome = self._wait(_Ticket(event, time.monotonic() + self._deadline_s))
        assert outcome is not None  # noqa: S101  # a ticket with an event that is done without an error has one
        return outcome

    def check(self) -> None:
        """Returns when Postgres gave a sign of life on the writer's own connection. Raises UnavailableError."""
        self._wait(_Ticket(None, time.monotonic() + self._deadline_s))

    def _wait(self, ticket: _Ticket) -> Outcome | None:
        self._waiting.put(ticket)
        if not ticket.done.acquire(timeout=self._deadline_s):
            ticket.abandoned = True
            raise UnavailableError("Postgres does not answer")
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcome

    def _run(self) -> None:
        running = True
        while running:
            group = [self._waiting.get()]
            while len(group) < self._max_events:
                try:
                    group.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            running = None not in group
            # Whoever gave up has been answered 503: writing its event now would only surprise its client.
            live = [ticket for ticket in group if ticket is not None and not ticket.abandoned]
            if live:
                self._settle(live)

    def _settle(self, group: list[_Ticket]) -> None:
        """Failure policy: closed. Whatever goes wrong, every ticket gets an answer, and never a 201 without COMMIT."""
        try:
            settled = self._commit(group)
        except _POISON as error:
            if len(group) > 1:
                log.warning("a group of %d was refused, committing one by one reason=%s", len(group), error)
                for ticket in group:
                    self._settle([ticket])
                return
            log.error("an event was refused by Postgres reason=%s", error, extra={"transaction_id": _id(group[0])})
            self._fail(group, StoreError("Postgres refused the event"))
        except psycopg.Error:
            self._fail(group, UnavailableError("Postgres does not answer"))
        except Exception:  # the writer serves every request: it must outlive a bug in one group
            log.exception("a group could not be committed")
            self._fail(group, StoreError("the group could not be committed"))
        else:
            if settled.accepted:
                crash.point("api.after-commit")
            with_event = [ticket for ticket in group if ticket.event is not None]
            for ticket, outcome in zip(with_event, settled.outcomes, strict=True):
                ticket.outcome = outcome
            for ticket in group:
                ticket.done.release()
            if settled.accepted:
                crash.point("api.before-produce")
                self._after_commit(settled.accepted)

    def _commit(self, group: list[_Ticket]) -> Settled:
        events = [ticket.event for ticket in group if ticket.event is not None]
        started_s = time.monotonic()
        settled = self._link.run(
            lambda connection: commit_group(connection, events, self._member),
            until_s=max(ticket.deadline_s for ticket in group),
            stop=self._stopping.is_set,
        )
        if events:
            metrics.GROUP_EVENTS.observe(len(events))
            metrics.COMMIT_SECONDS.observe(time.monotonic() - started_s)
        return settled

    @staticmethod
    def _fail(group: list[_Ticket], error: Exception) -> None:
        for ticket in group:
            ticket.error = error
            ticket.done.release()


def _id(ticket: _Ticket) -> str:
    return ticket.event.transaction_id if ticket.event is not None else ""
