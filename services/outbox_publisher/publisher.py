"""The sweep: claim what the API did not bring to Kafka, send it, mark what was acknowledged, give back the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import psycopg

from services.common import crash, redeliveries
from services.common.catch_up import CatchUp
from services.common.group_offsets import GroupOffsets
from services.common.lifecycle import StopFlag
from services.common.outbox import Report, mark_published
from services.common.postgres import Connection, Link
from services.common.redeliveries import Due, Redelivered
from services.outbox_publisher import metrics
from services.outbox_publisher.cluster import Cluster
from services.outbox_publisher.courier import Courier
from services.outbox_publisher.inspection import Inspection
from services.outbox_publisher.leases import FURTHEST_LEASES, Claimed, claim, look, release, release_own
from services.outbox_publisher.passed import Passed
from services.outbox_publisher.retention import Retention
from services.outbox_publisher.settings import PublisherSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
_REPORT_WAIT_S: Final = 0.05
_LOOK_INTERVAL_S: Final = 5.0
_POSTGRES_PAUSE_S: Final = 0.5
_DAY_S: Final = 86_400
_SETTLE_S: Final = 2.0
"""After an outage of Postgres the API replicas get this long to mark what they had published: claiming at once would
publish it a second time."""


class Publisher:
    """One publisher. `step` is one round of its loop; `drain` is the end. Not for several threads."""

    def __init__(
        self, settings: PublisherSettings, link: Link, courier: Courier, cluster: Cluster, stop: StopFlag
    ) -> None:
        self._settings = settings
        self._link = link
        self._courier = courier
        commits = GroupOffsets(settings, settings.member_name, settings.kafka_group_id)
        self._inspection = Inspection(cluster, courier, Passed(commits, self._run), self._run)
        self._retention = Retention(settings.retention_days * _DAY_S, self._run)
        self._catch_up = CatchUp(settings.outbox_catch_up_per_sec)
        self._stop = stop
        self._acknowledged: list[Report] = []
        self._failed: list[str] = []
        self._redelivered: list[Redelivered] = []
        self._failed_redeliveries: list[int] = []
        self._claim_at_s = 0.0
        self._look_at_s = 0.0
        self._postgres_away = False
        self._known_connections = 0

    def step(self) -> None:
        """One round. Waits where there is nothing to do, never longer than a poll interval.

        Failure policy: open. With Postgres or Kafka away nothing is claimed; what is in flight is kept and settled when
        they are back, and what is lost with this process comes back with its lease.

        Raises:
            ProducerFatalError: only a new process can go on.
            TopicError: topics that were made anew are not as the promise needs them.
        """
        try:
            if self._postgres_away:
                self._find_postgres()
            self._settle()
            self._inspection.look()
            full = self._take_back() and self._claim_and_send()
            self._look()
            if not full:  # a backlog goes first
                self._retention.look()
        except psycopg.Error as error:
            self._on_postgres_error(error)
            full = False
        self._wait(full)

    def drain(self, timeout_s: float) -> None:
        """Waits for what is in flight, marks it and gives back the rest, within `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        self._courier.flush(max(0.0, timeout_s - 2.0))
        try:
            self._settle(until_s)
        except psycopg.Error as error:
            log.warning("leases are left to run out reason=%s", error)
        self._link.close()

    def _claim_and_send(self) -> bool:
        """Whether a full batch was sent, so that more may be due at once."""
        settings, now_s = self._settings, time.monotonic()
        batch = settings.outbox_batch_size
        if now_s < self._claim_at_s or self._courier.in_flight > batch * (settings.outbox_batches_in_flight - 1):
            return False
        lane = self._courier.room(now_s)
        if lane is None:
            self._claim_at_s = now_s + min(settings.outbox_poll_interval_sec, 0.5)
            return False
        number, room = lane
        limit = batch if room is None else min(room, batch)
        rows = self._claim(limit)
        metrics.SWEEP_SECONDS.observe(time.monotonic() - now_s)
        full = len(rows) == limit and (room is None or self._courier.open)
        if not full:
            self._claim_at_s = now_s + settings.outbox_poll_interval_sec
        if not rows:
            self._courier.nothing_waits()
            return False
        metrics.CLAIMED.inc(len(rows))
        if taken_over := sum(row.taken_over for row in rows):
            metrics.TAKEN_OVER.inc(taken_over)
            log.info("leases taken over rows=%d", taken_over)
        crash.point("publisher.after-claim")
        log.debug("publishing rows=%d partition=%d", len(rows), number)
        self._courier.send(rows, number)
        if full:
            self._catch_up.went(len(rows))
            self._claim_at_s = time.monotonic() + self._catch_up.rest_s
        return full

    def _claim(self, limit: int) -> Sequence[Claimed | Due]:
        """Rows of the outbox, and where there are fewer than `limit`, redeliveries: new payments go first."""
        member, lease_s = self._settings.member_name, self._settings.outbox_lease_sec
        rows: list[Claimed | Due] = []
        rows += self._run(
            partial(claim, member=member, limit=limit, grace_s=self._settings.outbox_grace_sec, lease_s=lease_s)
        )
        if len(rows) < limit:
            furthest_s = FURTHEST_LEASES * lease_s
            left = limit - len(rows)
            again = partial(redeliveries.claim, member=member, limit=left, furthest_s=furthest_s, lease_s=lease_s)
            try:
                rows += self._run(again)
            except psycopg.Error:
                # What was claimed before it is sent all the same; these come back with their lease.
                if not rows:
                    raise
        return rows

    def _settle(self, until_s: float | None = None) -> None:
        """Marks what was acknowledged and gives back what failed. Raises psycopg.Error; both are then kept."""
        acknowledged, failed = self._courier.take()
        self._acknowledged += acknowledged
        self._failed += failed
        size = self._settings.outbox_batch_size
        while self._acknowledged:
            crash.point("publisher.before-mark")
            part = self._acknowledged[:size]
            done = self._run(partial(mark_published, by=self._settings.member_name, reports=part), until_s)
            del self._acknowledged[: len(part)]
            metrics.PUBLISHED.inc(done.marked)
            metrics.REPUBLISHED.inc(done.republished)
        if self._failed:
            self._run(partial(release, member=self._settings.member_name, ids=self._failed), until_s)
            metrics.RELEASED.inc(len(self._failed))
            self._failed = []
        self._settle_redeliveries(until_s)

    def _settle_redeliveries(self, until_s: float | None) -> None:
        acknowledged, failed = self._courier.take_redeliveries()
        self._redelivered += acknowledged
        self._failed_redeliveries += failed
        member = self._settings.member_name
        if self._redelivered:
            crash.point("publisher.before-mark")
            reports = tuple(self._redelivered)
            self._run(partial(redeliveries.mark_published, by=member, reports=reports), until_s)
            self._redelivered.clear()
            metrics.REDELIVERED.inc(len(reports))
        if self._failed_redeliveries:
            numbers = tuple(self._failed_redeliveries)
            self._run(partial(redeliveries.release, member=member, numbers=numbers), until_s)
            self._failed_redeliveries.clear()

    def _look(self) -> None:
        if time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + _LOOK_INTERVAL_S
            depth = self._run(look)
            metrics.PENDING.set(depth.pending)
            metrics.OLDEST_SECONDS.set(depth.oldest_s)

    def _wait(self, full: bool) -> None:
        if full:
            # Not a wait for reports: one of a whole batch is marked by one statement, those that trickle in by many.
            self._stop.wait(min(self._catch_up.rest_s, self._settings.outbox_poll_interval_sec))
            self._courier.poll(0)
        elif self._courier.in_flight:
            self._courier.poll(_REPORT_WAIT_S)
        else:
            self._courier.poll(0)
            pause_s = _POSTGRES_PAUSE_S if self._postgres_away else max(0.0, self._claim_at_s - time.monotonic())
            self._stop.wait(min(pause_s, self._settings.outbox_poll_interval_sec, self._next_prune_s()))

    def _next_prune_s(self) -> float:
        return float("inf") if self._postgres_away else self._retention.due_in_s

    def _on_postgres_error(self, error: psycopg.Error) -> None:
        if self._link.down:
            self._postgres_away = True
        else:
            log.error("Postgres refused a statement reason=%s", str(error).strip())
            self._claim_at_s = time.monotonic() + _POSTGRES_PAUSE_S

    def _take_back(self) -> bool:
        """Gives back leases of ours that we know nothing of; False while that has to wait.

        They come from an earlier process of this member, or from a claim whose answer was lost with its connection.
        As rows in flight look the same in the table, first everything in flight is settled.
        """
        if self._link.connections and self._link.connections == self._known_connections:
            return True
        if self._courier.in_flight:
            return False
        try:
            freed = self._run(partial(release_own, member=self._settings.member_name))
            freed += self._run(partial(redeliveries.release_own, member=self._settings.member_name))
        except psycopg.errors.QueryCanceled:
            freed = 0
            log.warning("too much is pending to look for leases without an owner: they will run out")
        self._known_connections = self._link.connections
        if freed:
            log.info("leases without an owner given back rows=%d", freed)
        return True

    def _find_postgres(self) -> None:
        """Raises psycopg.Error while Postgres is away; once it is back, lets the API replicas mark first."""
        self._run(lambda connection: connection.execute("SELECT 1"))
        self._postgres_away = False
        self._claim_at_s = time.monotonic() + min(_SETTLE_S, self._settings.outbox_grace_sec)

    def _run(self, work: Callable[[Connection], T], until_s: float | None = None) -> T:
        deadline_s = until_s if until_s is not None else time.monotonic() + self._settings.postgres_deadline_sec
        return self._link.run(work, until_s=deadline_s, stop=self._stop.is_set)
