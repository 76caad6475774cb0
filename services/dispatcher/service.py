"""Puts the dispatcher together, runs it, and takes it apart in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException

from services.common import garbage
from services.common.catch_up import CatchUp
from services.common.kafka import (
    TopicError,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    topic_id_of,
)
from services.common.lifecycle import stop_event
from services.common.schema import migrate
from services.dispatcher import status
from services.dispatcher.cluster import Asker, ClusterWatch, instance_id
from services.dispatcher.deliver import HttpDeliverer, RequestHeaders
from services.dispatcher.dispatch import Dispatch, Limits, Ports
from services.dispatcher.gate import Gate
from services.dispatcher.intake import Intake
from services.dispatcher.record import Position, Record, Unreadable
from services.dispatcher.recorder import Recorder
from services.dispatcher.requeue import Requeuer
from services.dispatcher.retry import RetryPolicy
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.source import Source
from services.dispatcher.standstill import Standstill
from services.dispatcher.watchdog import Watchdog

log = logging.getLogger(__name__)
RETRY_S: Final = 0.5
TOPICS_TIMEOUT_S: Final = 5.0
LEAVE_S: Final = 4.0
"""Of the grace, how much is kept for the last records, the last commit and the close."""


class FatalError(RuntimeError):
    """Something that a restart may heal and waiting does not."""


class LoopSink:
    """Carries the consumer thread's news into the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fatal: Callable[[str], None]) -> None:
        self._loop = loop
        self._fatal = fatal
        self.dispatch: Dispatch | None = None
        self.gone = asyncio.Event()

    def records(self, records: list[Record | Unreadable]) -> None:
        """See `source.Sink`."""
        if self.dispatch is not None:
            self._call(self.dispatch.take, records)

    def assigned(self, epochs: frozenset[int], partitions: tuple[int, ...]) -> None:
        """See `source.Sink`."""
        if self.dispatch is not None:
            self._call(self.dispatch.assigned, epochs, partitions)

    def revoking(self, epochs: frozenset[int], partitions: tuple[int, ...], then: Callable[[], None]) -> None:
        """See `source.Sink`."""
        if self.dispatch is not None:
            self._call(self.dispatch.revoking, epochs, partitions, then)

    def fatal(self, sentence: str) -> None:
        """See `source.Sink`."""
        self._call(self._fatal, sentence)

    def left(self) -> None:
        """See `source.Sink`."""
        self._call(self.gone.set)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class Service:
    """The running dispatcher."""

    def __init__(self, settings: DispatcherSettings) -> None:
        """Must be made inside the running loop."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._stop = stop_event(self._loop)
        self._verdict: asyncio.Future[str] = self._loop.create_future()
        self._dispatch: Dispatch | None = None
        self._source: Source | None = None
        self._admin = make_admin(settings, settings.member_name)
        self._topic_id = ""

    async def run(self) -> int:
        """Works until a signal (0) or something fatal (1)."""
        settings = self._settings
        await status.serve(settings.listen_host, settings.metrics_port, self.status)
        try:
            stopping = asyncio.ensure_future(self._stop.wait())
            preparing = asyncio.ensure_future(self._prepare())
            await asyncio.wait([stopping, preparing], return_when=asyncio.FIRST_COMPLETED)
            if not preparing.done():
                return 0  # a thread that still waits for a server is not waited for
            await preparing
            return await self._work(stopping)
        except FatalError as error:
            log.critical("%s", error)
            return 1

    def status(self) -> dict[str, Any]:
        """What `/status` shows."""
        if self._dispatch is None or self._source is None:
            return {**_NOTHING, "member": self._settings.member_name}
        return {
            "member": self._settings.member_name,
            **self._dispatch.status(),
            "lag": self._source.lag,
            "committed": self._source.committed,
        }

    async def _prepare(self) -> None:
        """Schema and topics, as soon as their servers answer.

        Failure policy: closed. Without both there is nothing to do but to wait; what waiting cannot heal is fatal.
        """
        settings = self._settings
        complained = False
        while True:
            try:
                await asyncio.to_thread(migrate, settings.conninfo)
                await asyncio.to_thread(ensure_topics, settings, settings.member_name, timeout_s=TOPICS_TIMEOUT_S)
                self._topic_id = await asyncio.to_thread(
                    topic_id_of, self._admin, settings.kafka_topic, TOPICS_TIMEOUT_S
                )
                return
            except TopicError as error:
                raise FatalError(str(error)) from error
            except (psycopg.OperationalError, KafkaException, TimeoutError) as error:
                if not complained:
                    complained = True
                    log.warning("waiting for Postgres and Kafka: %s", " ".join(str(error).split()))
            except psycopg.Error as error:
                raise FatalError(f"the schema cannot be made: {' '.join(str(error).split())}") from error
            await asyncio.sleep(RETRY_S)

    def _fatal(self, sentence: str) -> None:
        if not self._verdict.done():
            self._verdict.set_result(sentence)

    async def _work(self, stopping: asyncio.Future[Any]) -> int:
        settings = self._settings
        intake = Intake(
            capacity=settings.max_in_flight + settings.max_waiting,
            capacity_bytes=int(settings.max_buffered_mb * 1024 * 1024),
        )
        sink = LoopSink(self._loop, self._fatal)
        source = self._source = self._make_source(intake, sink)
        recorder = Recorder(settings.conninfo, settings.member_name, self._recorded)
        requeuer = Requeuer(
            lambda on_error: make_producer(
                settings, settings.member_name, linger_ms=5, message_timeout_ms=30_000, error_cb=on_error
            ),
            sink.fatal,
        )
        deliverer = HttpDeliverer(settings.webhook_url, timeout_s=settings.request_timeout_sec)
        ports = Ports(
            deliverer, RequestHeaders(settings.secrets, settings.member_name), recorder, requeuer.send, self._fatal
        )
        dispatch = self._dispatch = sink.dispatch = Dispatch(
            _limits(settings), ports, _policy(settings), _gate(settings), intake
        )
        recording = asyncio.create_task(recorder.run())
        recording.add_done_callback(self._recording_ended)
        garbage.search_rarely()
        requeuer.start()
        source.start()
        standstill = Standstill(self._loop, lambda: source.rounds, self._fatal)
        log.info("dispatcher started url=%s topic=%s", settings.webhook_url, settings.kafka_topic)
        await asyncio.wait([stopping, self._verdict], return_when=asyncio.FIRST_COMPLETED)
        if self._verdict.done():
            raise FatalError(self._verdict.result())
        standstill.stop()
        await self._drain(dispatch, recorder, requeuer, source, sink)
        return 0

    async def _drain(
        self, dispatch: Dispatch, recorder: Recorder, requeuer: Requeuer, source: Source, sink: LoopSink
    ) -> None:
        """Finish what is under way, record it, commit it, leave. What the grace cuts off is delivered again."""
        grace_s = self._settings.shutdown_grace_sec
        end_s = self._loop.time() + grace_s
        leave_s = min(LEAVE_S, grace_s / 2)
        log.info("draining, at most %.1fs", grace_s)
        if not await dispatch.drain(end_s - leave_s):
            log.warning("left with attempts under way: they are made again")
        requeuer.stop()
        try:
            async with asyncio.timeout_at(end_s - leave_s / 2):
                await recorder.drained()
        except TimeoutError:
            log.warning("left with %d unrecorded outcomes: those deliveries are made again", recorder.backlog)
        source.finish(max(0.1, end_s - self._loop.time()))
        try:
            async with asyncio.timeout_at(end_s + 0.5):
                await sink.gone.wait()
        except TimeoutError:
            log.warning("left before Kafka confirmed the end")
        log.info("dispatcher stopped")

    def _make_source(self, intake: Intake, sink: LoopSink) -> Source:
        settings = self._settings

        def make(error_cb: Callable[[KafkaError], None], on_commit: Callable[..., None]) -> Consumer:
            return make_consumer(
                settings,
                settings.member_name,
                group_id=settings.kafka_group_id,
                group_instance_id=instance_id(settings.member_name, self._topic_id),
                session_timeout_ms=int(settings.group_session_timeout_sec * 1000),
                heartbeat_interval_ms=int(settings.group_session_timeout_sec * 1000 / 4),
                # Little is fetched ahead: what the loop has not taken yet only costs memory, and is lost by a pause.
                queued_min_messages=2000,
                queued_max_messages_kbytes=4096,
                fetch_queue_backoff_ms=20,
                # An answer with records comes at once; one without any is asked for again this often.
                fetch_wait_max_ms=1000,
                fetch_error_backoff_ms=100,
                error_cb=error_cb,
                on_commit=on_commit,
            )

        return Source(
            make,
            settings.kafka_topic,
            intake,
            sink,
            max_window=settings.max_window,
            commit_interval_s=settings.commit_interval_sec,
            watchdog=Watchdog(settings.kafka_topic, intake, _stall_exit_s(settings)),
            cluster=ClusterWatch(settings.kafka_topic, self._topic_id, Asker(self._admin, settings.kafka_topic)),
            catch_up=CatchUp(settings.catch_up_per_sec),
        )

    def _recorded(self, positions: list[Position]) -> None:
        if self._source is not None:
            self._source.complete(positions)
        if self._dispatch is not None:
            self._dispatch.pump()

    def _recording_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fatal(f"the recorder failed: {task.exception()}")


_NOTHING: Final[dict[str, Any]] = {
    "in_flight": 0,
    "in_flight_ids": [],
    "ready": 0,
    "retrying": 0,
    "parked": 0,
    "requeuing": 0,
    "held": 0,
    "unrecorded": 0,
    "phase": "starting",
    "paused": False,
    "paused_until": None,
    "assigned": [],
    "epoch": 0,
    "lag": {},
    "committed": {},
}
"""The status before Postgres and Kafka have answered."""


def _limits(settings: DispatcherSettings) -> Limits:
    return Limits(
        webhook_url=settings.webhook_url,
        topic=settings.kafka_topic,
        dead_topic=settings.dead_topic,
        max_in_flight=settings.max_in_flight,
        max_unrecorded=settings.max_unrecorded,
        pause_s=settings.retry_pause_seconds,
        session_s=settings.group_session_timeout_sec,
    )


def _policy(settings: DispatcherSettings) -> RetryPolicy:
    return RetryPolicy(settings.max_retries, settings.retry_backoff_sec, settings.retry_after_cap_sec)


def _stall_exit_s(settings: DispatcherSettings) -> float:
    """Long waits that somebody asked for are no standstill: never shorter than one attempt and the wait after it."""
    return max(settings.stall_exit_sec, 2 * (_policy(settings).longest_wait_s + settings.request_timeout_sec))


def _gate(settings: DispatcherSettings) -> Gate:
    return Gate(
        pause_s=settings.retry_pause_seconds,
        probe_interval_s=settings.probe_interval_seconds,
        evidence_s=settings.pause_evidence_sec,
        full=settings.max_in_flight,
        ramp_s=settings.ramp_sec,
        quick_s=settings.request_timeout_sec / 4,
        chance=random.random,
    )
