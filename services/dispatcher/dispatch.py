"""The heart: takes records, attempts them when they are due, and decides what follows from each answer. Loop only.

    outcome → recorder → tracker → commit      exhausted → requeue → (report) → recorder → …      gate: pause, probe

Nothing here touches a Kafka client, a socket or SQL; those are behind `Ports`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from services.common import crash
from services.dispatcher import metrics, wording
from services.dispatcher.deliver import Answer, Deliverer, RequestHeaders
from services.dispatcher.gate import Gate, Phase, Resumed
from services.dispatcher.intake import Intake
from services.dispatcher.outcome import Outcome, attempts_total, clean, dead
from services.dispatcher.presence import Presence
from services.dispatcher.record import Headers, Record, Unreadable, dead_letter, requeue_headers
from services.dispatcher.recorder import Recorder
from services.dispatcher.requeue import Letter
from services.dispatcher.retry import RetryPolicy
from services.dispatcher.revocation import Revocation
from services.dispatcher.schedule import Schedule

log = logging.getLogger(__name__)
MIN_SLEEP_S: Final = 0.01
"""Due times are met to 10 ms: thousands of retries share a few wake-ups."""
MAX_LISTED_IDS: Final = 200
"""Of the ids in flight no more are listed in the status."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and names that the dispatch works with; see the settings of the same names."""

    webhook_url: str
    topic: str
    dead_topic: str
    max_in_flight: int
    max_unrecorded: int
    pause_s: float
    session_s: float


@dataclass(frozen=True, slots=True)
class Ports:
    """What the dispatch works through."""

    deliverer: Deliverer
    headers: RequestHeaders
    recorder: Recorder
    send: Callable[[Letter], None]
    """Hands a letter to the re-queue thread; its confirmation comes back in that thread."""
    fatal: Callable[[str], None]  # ends the process, saying why


class Dispatch:
    """All records that this process holds, and what happens to them."""

    def __init__(self, limits: Limits, ports: Ports, policy: RetryPolicy, gate: Gate, intake: Intake) -> None:
        """Must be made inside the running loop."""
        self._limits, self._ports = limits, ports
        self._policy = policy
        self._gate = gate
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule()
        self._in_flight: dict[Record, asyncio.Task[None]] = {}
        self._requeuing = 0
        self._live: frozenset[int] = frozenset()
        self._partitions: tuple[int, ...] = ()
        self._revocation: Revocation | None = None
        self._probe: Record | None = None
        self._draining = False
        self._presence = Presence(self._loop, limits.session_s, self.pump)
        self._quiet = asyncio.Event()
        """Set in a drain when nothing is under way any more."""
        self._timer: asyncio.Handle | None = None
        self._alarm_at_s = 0.0
        """When `_timer` rings: uvloop's handle of a moment that has passed meanwhile does not tell."""

    # -- what the consumer thread brings

    def assigned(self, epochs: frozenset[int], partitions: tuple[int, ...]) -> None:
        """The assignment changed: waiting records of other epochs are somebody else's now."""
        self._live, self._partitions = epochs, partitions
        for record in self._schedule.drop(epochs):
            self._let_go(record)
        self.pump()

    def revoking(self, epochs: frozenset[int], partitions: tuple[int, ...], then: Callable[[], None]) -> None:
        """As `assigned`; `then` is called when what is under way of the others has ended and is recorded."""
        self._revocation = Revocation(self._ports.recorder, then)
        self.assigned(epochs, partitions)

    def take(self, records: list[Record | Unreadable]) -> None:
        """New records."""
        self._intake.probe_wanted = False  # first: arrived and still wanted would let another one through
        self._intake.arrive(len(records))
        now_s, wall_s = self._loop.time(), time.time()
        for record in records:
            if isinstance(record, Unreadable):
                self._bury(record)
            elif record.position.epoch not in self._live:
                self._let_go(record)
            else:
                wait_s = record.not_before_ms / 1000 - wall_s if record.not_before_ms else 0.0
                # Its due time was made by a clock that may have been set since: no round waits longer than this.
                self._schedule.push(now_s + min(max(0.0, wait_s), self._policy.longest_wait_s), record)
        self.pump()

    # -- attempts

    def pump(self) -> None:
        """Starts whatever may be started now, and sets the alarm for what comes next."""
        now_s = self._loop.time()
        resumed = self._gate.tick(now_s)
        if resumed is not None:
            self._say_resumed(resumed)
        if len(self._schedule):
            self._schedule.bring_back(self._gate.vacancies(now_s))
        if self._may_start():
            if self._gate.phase is Phase.PAUSED:
                self._send_probe(now_s)
            else:
                self._start_due(now_s)
        intake = self._intake
        intake.ready = self._schedule.new
        intake.open = self._gate.phase is not Phase.PAUSED and not self._draining and not self._recorder_full()
        if intake.open or self._draining:
            intake.probe_wanted = False
        self._set_alarm(now_s)
        if self._revocation is not None and self._revocation.over(self._revoked_under_way()):
            self._revocation = None
        if self._draining and not self._in_flight and not self._requeuing:
            self._quiet.set()

    def _revoked_under_way(self) -> bool:  # a re-queue does not say whose it is; Kafka confirms it within milliseconds
        return self._requeuing > 0 or any(record.position.epoch not in self._live for record in self._in_flight)

    def _may_start(self) -> bool:
        room = len(self._in_flight) < self._limits.max_in_flight and not self._recorder_full()
        return self._presence.sure() and room and not self._draining

    def _recorder_full(self) -> bool:
        return self._ports.recorder.backlog >= self._limits.max_unrecorded

    def _start_due(self, now_s: float) -> None:
        schedule, gate, limit = self._schedule, self._gate, self._limits.max_in_flight
        while len(self._in_flight) < limit:
            record = schedule.pop_due(now_s)
            if record is None:
                return
            if gate.admit(record, now_s):
                self._start(record)
            else:
                schedule.set_aside(record, now_s)

    def _send_probe(self, now_s: float) -> None:
        """One waiting record, due or not; where none waits here, one from Kafka."""
        if self._probe is not None or not self._gate.probe_due(now_s):
            return
        record = self._schedule.pop()
        if record is None:
            self._intake.probe_wanted = True
            return
        self._gate.probe_sent(now_s)
        metrics.PROBES.inc()
        self._probe = record
        self._start(record)

    def _start(self, record: Record) -> None:
        record.attempt += 1
        self._in_flight[record] = self._loop.create_task(self._attempt(record))

    async def _attempt(self, record: Record) -> None:
        try:
            started_wall_s, started_s = time.time(), self._loop.time()
            answer = await self._ports.deliverer.post(self._ports.headers.make(record, started_wall_s), record.body)
            self._finish(record, answer, started_wall_s, started_s)
        except Exception as error:
            # A record forgotten by a fault of ours would be lost until a restart.
            log.debug("attempt failed by a fault of ours", exc_info=error)
            self._ports.fatal(f"an attempt failed by a fault of the dispatcher: {type(error).__name__}: {error}")

    def _finish(self, record: Record, answer: Answer, started_wall_s: float, started_s: float) -> None:
        now_s = self._loop.time()
        del self._in_flight[record]
        if self._probe is record:
            self._probe = None
        metrics.ATTEMPT_SECONDS.observe(now_s - started_s)
        next_wait_s: float | None = None
        if not answer.delivered:
            next_wait_s = self._policy.wait_s(record.attempt, answer.retry_after_s, random.random())  # noqa: S311
        due_wall_s = time.time() + next_wait_s if next_wait_s is not None else None
        outcome = self._outcome(record, "delivered" if answer.delivered else "retrying", due_wall_s)._replace(
            started_s=started_wall_s,
            duration_ms=(now_s - started_s) * 1000,
            status=answer.status,
            error=clean(answer.error) if answer.error else None,
        )
        if answer.delivered:
            self._delivered(record, outcome, started_s, now_s)
        else:
            self._failed(record, answer, outcome, next_wait_s, now_s)
        self.pump()

    def _delivered(self, record: Record, outcome: Outcome, started_s: float, now_s: float) -> None:
        crash.point("dispatcher.after-2xx")
        metrics.ATTEMPT_DELIVERED.inc()
        metrics.DELIVERED.inc()
        metrics.DELIVERY_SECONDS.observe(max(0.0, outcome.at_s - record.first_seen_ms / 1000))
        wording.log.info(wording.DELIVERED, record.transaction_id, self._limits.webhook_url, outcome.status)
        self._ports.recorder.add(outcome, record.position)
        resumed = self._gate.succeeded(record, record.transaction_id, started_s, now_s)
        self._intake.release(record.size_bytes)
        if resumed is not None:
            self._say_resumed(resumed)

    def _failed(
        self, record: Record, answer: Answer, outcome: Outcome, next_wait_s: float | None, now_s: float
    ) -> None:
        (metrics.ATTEMPT_UNANSWERED if answer.status is None else metrics.ATTEMPT_REFUSED).inc()
        self._ports.recorder.add(outcome)
        self._gate.failed(answered=answer.status is not None)
        if answer.retry_after_s is not None:
            self._gate.hold_off(now_s + min(answer.retry_after_s, self._policy.retry_after_cap_s))
        if record.position.epoch not in self._live:
            self._let_go(record)  # whoever has the partition now delivers it
        elif next_wait_s is None:
            self._exhausted(record, answer, now_s)
        else:
            wording.log.info(
                wording.RETRYING,
                record.transaction_id,
                record.attempt + 1,
                self._policy.max_attempts,
                next_wait_s,
                "exponential" if answer.retry_after_s is None else "Retry-After",
            )
            self._schedule.push(now_s + next_wait_s, record)

    # -- re-queue, pause, dead letters

    def _exhausted(self, record: Record, answer: Answer, now_s: float) -> None:
        """The round is over: re-queue, and only the report of that completes the record; then pause."""
        wait_s = self._policy.round_wait_s(answer.retry_after_s, random.random())  # noqa: S311
        due_wall_s = time.time() + wait_s
        wording.log.warning(wording.FAILED, record.transaction_id, self._limits.webhook_url, record.attempt)
        outcome = self._outcome(record, "requeued", due_wall_s)
        self._letter(
            self._limits.topic,
            record.transaction_id.encode(),
            record.body,
            requeue_headers(record, int(due_wall_s * 1000)),
            lambda: self._requeued(record, outcome),
        )
        paused = self._gate.exhausted(record, record.transaction_id, now_s)
        if paused is None:
            return
        metrics.PAUSES.inc()
        wording.log.warning(
            wording.PAUSED, len(self._partitions), wording.humanise(self._limits.pause_s), record.transaction_id
        )
        if paused.ended_by is not None:
            self._say_resumed(Resumed(0.0, paused.ended_by))

    def _requeued(self, record: Record, outcome: Outcome) -> None:
        metrics.REQUEUED.inc()
        # The moment of the plan, not of this report: what the next round has recorded since is the newer state.
        self._ports.recorder.add(outcome, record.position)
        self._let_go(record)

    def _bury(self, unreadable: Unreadable) -> None:
        """An unreadable record goes to the dead-letter topic; complete once that is confirmed."""
        position = unreadable.position
        log.error(
            "unreadable record partition=%d offset=%d: %s", position.partition, position.offset, unreadable.reason
        )
        key, value, headers = dead_letter(unreadable, self._limits.topic)
        self._letter(self._limits.dead_topic, key, value, headers, lambda: self._buried(unreadable))

    def _buried(self, unreadable: Unreadable) -> None:
        metrics.DEAD.inc()
        outcome = None
        if unreadable.transaction_id is not None:
            position, reason = unreadable.position, unreadable.reason
            outcome = dead(unreadable.transaction_id, position, reason, time.time(), unreadable.redelivery)
        self._ports.recorder.add(outcome, unreadable.position)
        self._intake.release(unreadable.size_bytes)

    def _letter(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, then: Callable[[], None]
    ) -> None:
        self._requeuing += 1

        def confirmed() -> None:
            self._requeuing -= 1
            then()
            self.pump()

        self._ports.send(
            Letter(topic, key, value, headers, lambda: _call(self._loop, confirmed), spread=key is not None)
        )

    def _let_go(self, record: Record) -> None:
        self._gate.leave(record)
        self._intake.release(record.size_bytes)

    def _outcome(self, record: Record, state: str, next_due_s: float | None) -> Outcome:
        return Outcome(
            transaction_id=record.transaction_id,
            state=state,
            round=record.round,
            attempt=record.attempt,
            attempts_total=attempts_total(record, self._policy.max_attempts),
            partition=record.position.partition,
            offset=record.position.offset,
            at_s=time.time(),
            started_s=None,
            duration_ms=None,
            status=None,
            error=None,
            next_due_s=next_due_s,
            redelivery=record.redelivery,
        )

    def _say_resumed(self, resumed: Resumed) -> None:
        wording.log.info(wording.RESUMED, wording.humanise(resumed.after_s), resumed.transaction_id)

    def _set_alarm(self, now_s: float) -> None:
        """One timer for whatever comes next; an earlier one that is set already stays."""
        if self._gate.phase is Phase.PAUSED:
            until_s = self._gate.paused_until_s
            wake_s = until_s if self._intake.probe_wanted and until_s is not None else self._gate.wake_s
        elif len(self._in_flight) >= self._limits.max_in_flight or self._recorder_full():
            return  # the next answer or the next batch recorded pumps
        else:
            wake_s = self._schedule.next_due_s
            if self._schedule.any_aside:
                wake_s = min(wake_s, self._gate.wake_s)
        if wake_s == float("inf") or self._draining:
            return
        wake_s = max(wake_s, now_s + MIN_SLEEP_S)
        if self._timer is not None:
            if self._alarm_at_s <= wake_s + MIN_SLEEP_S:
                return
            self._timer.cancel()
        self._alarm_at_s = wake_s
        self._timer = self._loop.call_at(wake_s, self._alarm)

    def _alarm(self) -> None:
        self._timer = None
        self.pump()

    # -- drain and status

    async def drain(self, by_s: float) -> bool:
        """Starts nothing more and waits, until `by_s` on the loop's clock, for what is under way; whether it ended."""
        self._draining = True
        self.pump()
        try:
            async with asyncio.timeout_at(by_s):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """What is where, for people and for the control room."""
        until_s = self._gate.paused_until_s
        return {
            "in_flight": len(self._in_flight),
            "in_flight_ids": [record.transaction_id for record in islice(self._in_flight, MAX_LISTED_IDS)],
            "ready": self._schedule.new,
            "retrying": self._schedule.retrying,
            "parked": self._schedule.parked,
            "requeuing": self._requeuing,
            "held": self._intake.held,
            "unrecorded": self._ports.recorder.backlog,
            "phase": str(self._gate.phase),
            "paused": until_s is not None,
            "paused_until": time.time() + until_s - self._loop.time() if until_s is not None else None,
            "assigned": list(self._partitions),
            "epoch": max(self._live, default=0),
        }


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Calls `function` in `loop` from another thread; after the loop's end there is nobody left to tell."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
