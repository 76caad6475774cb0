"""A dispatcher as a process of its own, a topic of its own per test, and a merchant that does what the test says."""

import asyncio
import threading
import time
import uuid
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import requests
from aiohttp import web
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from services.common.event import canonical_bytes
from services.common.kafka import ensure_topics, make_admin, make_consumer, make_producer
from services.common.settings import KafkaSettings
from services.dispatcher.tracker import OffsetTracker
from tests.integration.fixtures_stores import free_port, service, until


class Attempt(NamedTuple):
    transaction_id: str
    headers: dict
    body: bytes
    at_s: float
    status: int


class Merchant:
    """`answer(transaction_id)` gives each request's status, in a thread's loop; a coroutine is waited for first."""

    def __init__(self):
        self.answer = lambda transaction_id: 200
        self.attempts = []
        self.waiting = set()
        """The ids of requests that have come and are not answered."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        self.url = f"http://127.0.0.1:{self.port}/hook"

    async def _start(self):
        app = web.Application()
        app.router.add_post("/hook", self._hook)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    async def _hook(self, request):
        body = await request.read()
        transaction_id = request.headers["webhook-id"]
        self.waiting.add(transaction_id)
        try:
            status = self.answer(transaction_id)
            if asyncio.iscoroutine(status):
                status = await status
        finally:
            self.waiting.discard(transaction_id)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.attempts.append(Attempt(transaction_id, headers, body, time.monotonic(), status))
        return web.Response(status=status)

    @property
    def delivered(self):
        """The ids answered 200, one entry per answer."""
        return [attempt.transaction_id for attempt in self.attempts if attempt.status == 200]

    def close(self):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def merchant():
    made = Merchant()
    yield made
    made.close()


class Payments:
    """A topic of the test's own, and the consumer group `group` on it."""

    def __init__(self, bootstrap):
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.settings = KafkaSettings(kafka_bootstrap_servers=bootstrap, kafka_topic=name)
        self.group = f"group-of-{name}"
        ensure_topics(self.settings, "tests")
        self._producer = make_producer(self.settings, "tests", message_max_bytes=1_048_000)
        self.admin = make_admin(self.settings, "tests")

    def publish(self, count, partitions=3):
        """Publishes events, dealt out to the partitions in turn; their ids in this order."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        for number, transaction_id in enumerate(ids):
            self.put(transaction_id.encode(), canonical_bytes({"Transaction ID": transaction_id}), number % partitions)
        assert self._producer.flush(20) == 0
        return ids

    def put(self, key, value, partition=0, headers=None):
        self._producer.produce(
            self.settings.kafka_topic, key=key, value=value, partition=partition, headers=headers, on_delivery=arrived
        )

    def flush(self):
        assert self._producer.flush(20) == 0

    def committed(self):
        """The group's commit on each partition, as a tracker that starts there; none where there is no commit."""
        asked = [TopicPartition(self.settings.kafka_topic, number) for number in range(3)]
        [future] = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, asked)]).values()
        found = future.result(10).topic_partitions
        return {one.partition: OffsetTracker(one.offset, one.metadata) for one in found if one.offset >= 0}

    def uncommitted(self):
        """How many offsets no commit covers, the bitmaps counted in."""
        consumer = make_consumer(self.settings, "tests")
        known, open_offsets = self.committed(), 0
        for number in range(3):
            entry = TopicPartition(self.settings.kafka_topic, number)
            high = consumer.get_watermark_offsets(entry, timeout=10)[1]
            tracker = known.get(number) or OffsetTracker(0)
            open_offsets += sum(tracker.add(offset) for offset in range(tracker.base, high))
        consumer.close()
        return open_offsets

    def members(self):
        """Member id and partitions of each member of the group."""
        [future] = self.admin.describe_consumer_groups([self.group]).values()
        return {
            member.member_id: sorted(one.partition for one in member.assignment.topic_partitions)
            for member in future.result(10).members
        }

    def dead_letters(self, count):
        """The first `count` records of the dead-letter topic."""
        consumer = make_consumer(self.settings, "tests")
        consumer.assign([TopicPartition(self.settings.dead_topic, number, 0) for number in range(3)])
        found = []
        until(lambda: found.extend(consumer.consume(100, 0.2)) or len(found) >= count, what="the dead letters")
        consumer.close()
        return found

    def delete(self):
        for future in self.admin.delete_topics([self.settings.kafka_topic, self.settings.dead_topic]).values():
            future.result(20)


def arrived(error, message):
    assert error is None, error


@pytest.fixture
def payments(kafka_bootstrap):
    made = Payments(kafka_bootstrap)
    yield made
    made.delete()


@pytest.fixture
def dispatcher(postgres_conninfo, payments, merchant, tmp_path):
    """`dispatcher(NAME=value, …)`: a running dispatcher. Waits are short; the pause is as long as in production."""

    @contextmanager
    def run(**changes):
        port = free_port()
        environment = {
            "MEMBER_NAME": "dispatcher",
            "DATABASE_URL": postgres_conninfo,
            "KAFKA_BOOTSTRAP_SERVERS": payments.settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC": payments.settings.kafka_topic,
            "KAFKA_GROUP_ID": payments.group,
            "WEBHOOK_URL": merchant.url,
            "METRICS_PORT": str(port),
            "RETRY_BACKOFF_SEC": "0.1",
            "PROBE_INTERVAL_SECONDS": "0.5",
            **changes,
        }
        with service("services.dispatcher", tmp_path, **environment) as process:
            process.status = lambda: requests.get(f"http://127.0.0.1:{port}/status", timeout=5).json()
            process.assigned = lambda count=3: assigned(process, count)
            process.metrics = lambda: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
            yield process

    return run


def assigned(process, count):
    """Waits until the process has so many partitions."""

    def has():
        assert process.poll() is None, process.log_text()
        try:
            return len(process.status()["assigned"]) >= count
        except requests.ConnectionError:
            return False

    until(has, 30, "the assignment")
