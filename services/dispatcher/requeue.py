"""Sends records back to Kafka, or to the dead-letter topic, and says so only in their delivery reports.

One thread owns the producer: produce, poll and flush are called from it alone (a second thread's call would wait until
the first leaves the client).
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from services.common import crash
from services.common.kafka import is_fatal, offset_of
from services.dispatcher.metrics import REQUEUE_FAILURES
from services.dispatcher.record import Headers

log = logging.getLogger(__name__)
REPORT_POLL_S: Final = 0.02
IDLE_WAIT_S: Final = 0.2
AGAIN_AFTER_S: Final = 1.0
"""How long a letter waits that Kafka did not take."""
PURGE_S: Final = 1.0
"""For the reports of what was purged: they come at once."""
PARTITIONS_LOOKUP_S: Final = 2.0
ANY_PARTITION: Final = -1
"""The client chooses, by key."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One record to be produced. `on_confirmed` is called in the thread's report, once, and never on failure."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    on_confirmed: Callable[[], None]
    spread: bool = False
    """Any partition will do: the whole burst goes to one, since brokers' costs are per request."""


class Requeuer:
    """A thread that produces letters until each is confirmed."""

    def __init__(
        self, make: Callable[[Callable[[KafkaError], None]], Producer], on_fatal: Callable[[str], None]
    ) -> None:
        """`make` makes a producer, in the thread, whose errors go to the given callback; `on_fatal` is told, from the
        thread, why it cannot go on."""
        self._make = make
        self._on_fatal = on_fatal
        self._letters: queue.SimpleQueue[Letter | None] = queue.SimpleQueue()
        self._open = 0
        self._used = False
        """Whether the producer was given anything."""
        self._outlived = False
        """Whether it was, and all brokers have been away since: they may come back as another cluster."""
        self._again: list[tuple[float, Letter]] = []
        self._partitions: dict[str, int] = {}
        self._complained_s = float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="requeue", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def send(self, letter: Letter) -> None:
        """Takes a letter, from any thread. Never waits."""
        self._letters.put(letter)

    def stop(self) -> None:
        """Ends the thread after what it holds is confirmed; whoever calls bounds the wait."""
        self._ended.set()
        self._letters.put(None)

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread's end; whether it ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            producer = self._make(self._on_error)
            while not (self._ended.is_set() and self._open == 0 and not self._again and self._letters.empty()):
                self._produce(producer, self._burst())
                producer.poll(REPORT_POLL_S if self._open else 0)
                if self._outlived:
                    producer = self._next(producer)
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must end the process: re-queues would stop
            self._on_fatal(f"the re-queue producer failed: {error}")

    def _next(self, producer: Producer) -> Producer:
        """Another producer in place of one whose brokers were all away; what that one holds is produced again.

        In another cluster its id would be somebody else's by then, whose records a broker would take for repeats,
        acknowledge, and not keep.
        """
        producer.purge()
        producer.flush(PURGE_S)
        if self._open:
            return producer  # a letter without its report would be forgotten: the next round tries again
        self._used = self._outlived = False
        return self._make(self._on_error)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._outlived = self._used

    def _burst(self) -> list[Letter]:
        """All letters there are; waits for the first only while nothing is open."""
        now_s = time.monotonic()
        burst = [letter for due_s, letter in self._again if due_s <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        wait_s = 0.0 if burst or self._open else IDLE_WAIT_S
        try:
            while True:
                letter = self._letters.get(timeout=wait_s) if wait_s else self._letters.get_nowait()
                wait_s = 0.0
                if letter is not None:
                    burst.append(letter)
        except queue.Empty:
            return burst

    def _produce(self, producer: Producer, burst: list[Letter]) -> None:
        chosen: dict[str, int] = {}
        for letter in burst:
            if letter.spread and letter.topic not in chosen:
                chosen[letter.topic] = self._choose(producer, letter.topic)
            try:
                producer.produce(
                    letter.topic,
                    value=letter.value,
                    key=letter.key,
                    headers=list(letter.headers),
                    on_delivery=partial(self._reported, letter),
                    partition=chosen[letter.topic] if letter.spread else ANY_PARTITION,
                )
                self._open += 1
                self._used = True
            except BufferError:
                self._try_again(letter, "the producer's queue is full")
                producer.poll(REPORT_POLL_S)
            except KafkaException as error:
                self._judge(error.args[0])
                self._try_again(letter, str(error))

    def _choose(self, producer: Producer, topic: str) -> int:
        """One partition of `topic` at random; ANY_PARTITION while Kafka does not say how many there are."""
        if topic not in self._partitions:
            try:
                count = len(producer.list_topics(topic, timeout=PARTITIONS_LOOKUP_S).topics[topic].partitions)
            except KafkaException:
                return ANY_PARTITION
            if not count:
                return ANY_PARTITION
            self._partitions[topic] = count
        return random.randrange(self._partitions[topic])  # noqa: S311 - spreads load, keeps no secret

    def _reported(self, letter: Letter, error: KafkaError | None, message: Message) -> None:
        """The delivery report.

        Failure policy: closed. Without a confirmation the letter is produced again: a duplicate at worst.
        """
        self._open -= 1
        if offset_of(error, message) is not None:
            if letter.spread:
                crash.point("dispatcher.requeue-unreported")
            letter.on_confirmed()
            return
        if error is not None:
            self._judge(error)
        self._try_again(letter, error.str() if error is not None else "the broker calls it a duplicate")

    def _try_again(self, letter: Letter, reason: str) -> None:
        REQUEUE_FAILURES.inc()
        now_s = time.monotonic()
        if now_s - self._complained_s > 10:
            self._complained_s = now_s
            log.warning("Kafka did not confirm a re-queue, trying again: %s", reason)
        self._again.append((now_s + AGAIN_AFTER_S, letter))

    def _judge(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._on_fatal(f"the re-queue producer met a fatal error: {error.str()}")
