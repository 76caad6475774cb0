"""What the dispatch and the consumer thread work through, made of plain lists: no Kafka, no Postgres, no sockets."""

import asyncio
import json
import time
import uuid
from collections import deque
from concurrent.futures import Future

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from services.common.signing import Secrets
from services.dispatcher.cluster import Told
from services.dispatcher.deliver import Answer, RequestHeaders
from services.dispatcher.dispatch import Dispatch, Limits, Ports
from services.dispatcher.gate import Gate
from services.dispatcher.intake import Intake
from services.dispatcher.record import Position, Record
from services.dispatcher.retry import RetryPolicy

OK = Answer(200)
REFUSED = Answer(None, "refused")
URL = "http://merchant/"


async def until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


def wait_until(condition, timeout_s=5.0):
    """`until` for tests of threads."""
    end_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end_s, "the condition did not come true"
        time.sleep(0.002)
    return value


def record(offset, *, epoch=1, not_before_ms=0, round_number=1):
    made = Record(Position(0, offset, epoch), str(uuid.UUID(int=offset)), b'{"n": %d}' % offset, 0, not_before_ms)
    made.round = round_number
    return made


class Merchant:
    """A Deliverer. `answer` is what every attempt gets, or a function of the body; `hold()` keeps attempts open."""

    def __init__(self):
        self.answer = OK
        self.attempts = []
        self.open = 0
        self.most_open = 0
        self._free = asyncio.Event()
        self._free.set()

    def hold(self):
        self._free.clear()

    def release(self):
        self._free.set()

    def numbers(self):
        return [json.loads(body)["n"] for _, body in self.attempts]

    async def post(self, headers, body):
        self.attempts.append((headers, body))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._free.wait()
        finally:
            self.open -= 1
        return self.answer(json.loads(body)["n"]) if callable(self.answer) else self.answer

    async def close(self):
        pass


class Records:
    """A Recorder that keeps what it is given; `backlog` and `recorded` are the test's to set."""

    def __init__(self):
        self.taken = []
        self.backlog = self.recorded = 0

    @property
    def added(self):
        return len(self.taken)

    def add(self, outcome, finished=None):
        self.taken.append((outcome, finished))

    def states(self, offset):
        return [outcome.state for outcome, _ in self.taken if outcome is not None and outcome.offset == offset]

    @property
    def finished(self):
        return [position.offset for _, position in self.taken if position is not None]


def answered(answer):
    """A question's future, answered already."""
    future = Future()
    future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)
    return future


class World:
    """A Dispatch with everything around it."""

    def __init__(
        self,
        *,
        max_in_flight=100,
        max_unrecorded=1000,
        pause_s=60.0,
        session_s=60.0,
        probe_interval_s=0.05,
        ramp_s=0.0,
        **retries,
    ):
        self.merchant, self.recorder, self.letters, self.fatal = Merchant(), Records(), [], []
        self.intake = Intake(capacity=10_000, capacity_bytes=1 << 20)
        policy = {"max_attempts": 3, "backoff_s": 0.02, "retry_after_cap_s": 60.0, **retries}
        self.gate = Gate(
            pause_s=pause_s,
            probe_interval_s=probe_interval_s,
            evidence_s=0.5,
            full=max_in_flight,
            ramp_s=ramp_s,
            quick_s=0.25,
            chance=lambda: 0.0,
        )
        headers = RequestHeaders(Secrets.parse("0123456789abcdef0123456789abcdef"), "tests")
        self.dispatch = Dispatch(
            Limits(URL, "payments", "payments.dead", max_in_flight, max_unrecorded, pause_s, session_s),
            Ports(self.merchant, headers, self.recorder, self.letters.append, self.fatal.append),
            RetryPolicy(**policy),
            self.gate,
            self.intake,
        )
        self.dispatch.assigned(frozenset({1}), (0, 1, 2))

    def take(self, *records):
        """Hands records over as the consumer thread does."""
        self.intake.hand_over(len(records), sum(one.size_bytes for one in records))
        self.dispatch.take(list(records))

    async def confirm(self, letter):
        """Kafka's delivery report for a letter."""
        letter.on_confirmed()
        await asyncio.sleep(0.005)


class Log:
    """A Kafka consumer over logs in memory: positions, pauses, seeks and commits as the client has them.

    `slips` are (partition, offset) that the client passes over once. `script` holds functions that the next polls run
    first, such as a rebalance. `asked` notes calls in their order.
    """

    def __init__(self, logs, committed=None):
        self.logs = {partition: dict(records) for partition, records in logs.items()}
        self.stored = dict(committed or {})
        self.positions, self.paused = {}, set()
        self.slips, self.script, self.asked = set(), deque(), []
        self.on_commit = None
        self.refuse_commits = self.refuse_committed = 0
        self.cluster_id, self.looks, self.topic_gone = "one", 0, False
        self.topic_id = "T"
        self.written_ms = 1_700_000_000_000
        """The time of every record: long ago."""
        self.extra = None
        """A message that the next poll brings before any other."""
        self._reports = deque()

    def subscribe(self, topics, on_assign, on_revoke, on_lost):
        self._topic = topics[0]
        self.callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def rebalance(self, kind, *partitions):
        self.callbacks[kind](self, [TopicPartition(self._topic, one) for one in partitions])
        if kind != "assign":
            for one in partitions:
                self.positions.pop(one, None)

    def committed(self, partitions, timeout):
        if self.refuse_committed:
            self.refuse_committed -= 1
            raise KafkaException(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE))
        return [TopicPartition(one.topic, one.partition, *self.stored.get(one.partition, ())) for one in partitions]

    def incremental_assign(self, partitions):
        self.seek_all(partitions)

    def seek(self, partition):
        self.asked.append(("seek", partition.partition, partition.offset))
        self.seek_all([partition])

    def seek_all(self, partitions):
        for one in partitions:
            first = min(self.logs[one.partition], default=0)
            self.positions[one.partition] = first if one.offset == OFFSET_BEGINNING else one.offset

    def pause(self, partitions):
        self.paused |= {one.partition for one in partitions}

    def resume(self, partitions):
        self.paused -= {one.partition for one in partitions}

    def commit(self, offsets, asynchronous):
        self.asked.append(("commit", {one.partition: one.offset for one in offsets}))
        if self.refuse_commits:
            self.refuse_commits -= 1
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.stored.update({one.partition: (one.offset, one.metadata) for one in offsets})
        if asynchronous:
            self._reports.append(offsets)

    def poll(self, timeout):
        if self.script:
            self.script.popleft()()
        while self._reports:
            self.on_commit(None, self._reports.popleft())
        message = self._next()
        if message is None:
            time.sleep(min(timeout, 0.002))
        return message

    def consume(self, many, timeout):
        found = []
        if self.script:
            self.script.popleft()()
        while len(found) < many and (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self):
        if self.extra is not None:
            extra, self.extra = self.extra, None
            return extra
        for partition in sorted(set(self.positions) - self.paused):
            offsets = [one for one in self.logs[partition] if one >= self.positions[partition]]
            for offset in sorted(offsets):
                if (partition, offset) in self.slips:
                    self.slips.discard((partition, offset))
                    continue
                self.positions[partition] = offset + 1
                key, value = self.logs[partition][offset]
                return Message(
                    topic="t",
                    partition=partition,
                    offset=offset,
                    key=key,
                    value=value,
                    timestamp=(1, self.written_ms),
                )
        return None

    def get_watermark_offsets(self, partition, timeout=None, cached=False):
        log = self.logs[partition.partition]
        return min(log, default=0), max(log, default=-1) + 1

    def ask_cluster(self):
        self.looks += 1
        return answered(Told(self.cluster_id, "" if self.topic_gone else self.topic_id))

    def close(self):
        self.asked.append(("close",))
