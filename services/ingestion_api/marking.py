"""Delivery reports become marked outbox rows: gathered for a moment, written in one statement, off the request path."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Final

import psycopg

from services.common.outbox import Report, mark_published
from services.common.postgres import Link
from services.ingestion_api import metrics
from services.ingestion_api.handover import Handover

log = logging.getLogger(__name__)
_IDLE_S: Final = 0.5
"""A wait for reports when nothing is unmarked: a report ends it at once."""
_BATCH: Final = 500
_KEPT_MAX: Final = 50_000
"""Reports kept while Postgres is away: far more than the requests that were under way. Beyond it the oldest are
dropped, and the publisher brings those rows to Kafka a second time."""
_RETRY_S: Final = 0.2


class Marking:
    """The marking thread: serves the producer's reports, marks rows in batches."""

    def __init__(self, handover: Handover, link: Link, member: str, *, interval_s: float, deadline_s: float) -> None:
        self._handover = handover
        self._link = link
        self._member = member
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._unmarked: list[Report] = []
        self._due_s = 0.0
        self._refused = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="marking", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Waits for what is on its way to Kafka and marks it, within `timeout_s`; the rest is the publisher's."""
        until_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return
        # With no broker there is nothing to wait for: the few records under way are the publisher's already.
        flush_s = max(0.0, until_s - time.monotonic()) if self._handover.kafka_answers else 0.0
        self._keep(self._handover.flush(flush_s))
        self._mark(until_s)
        self._link.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            now_s = time.monotonic()
            wait_s = min(_IDLE_S, max(0.0, self._due_s - now_s)) if self._unmarked else _IDLE_S
            try:
                self._keep(self._handover.reports(wait_s))
                if self._unmarked and (len(self._unmarked) >= _BATCH or time.monotonic() >= self._due_s):
                    self._mark(time.monotonic() + self._deadline_s)
            except Exception:  # without this thread no report is served: it must outlive a bug
                log.exception("reports could not be marked")
                self._stopping.wait(_RETRY_S)

    def _keep(self, reports: list[Report]) -> None:
        if reports and not self._unmarked:
            self._due_s = time.monotonic() + self._interval_s
        self._unmarked += reports
        if (excess := len(self._unmarked) - _KEPT_MAX) > 0:
            log.warning("%d reports dropped: their rows will be published a second time", excess)
            del self._unmarked[:excess]
        metrics.UNMARKED.set(len(self._unmarked))

    def _mark(self, until_s: float) -> None:
        """Failure policy: open. Unmarked rows are only published again; the reports are kept and tried once more."""
        while self._unmarked:
            batch = self._unmarked[:_BATCH]
            try:
                done = self._link.run(partial(mark_published, by=self._member, reports=batch), until_s=until_s)
            except psycopg.Error as error:
                if not self._link.down and not self._refused:  # the link itself says that Postgres is away
                    self._refused = True
                    log.warning("Postgres refuses to mark rows, trying again reason=%s", str(error).strip())
                self._due_s = time.monotonic() + _RETRY_S
                return
            self._refused = False
            del self._unmarked[: len(batch)]
            metrics.REPUBLISHED.inc(done.republished)
            metrics.UNMARKED.set(len(self._unmarked))
