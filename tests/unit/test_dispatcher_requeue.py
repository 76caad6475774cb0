"""The re-queue thread with a producer made of lists: a letter is confirmed by its report, or sent again."""

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.dispatcher import requeue
from services.dispatcher.requeue import Letter, Requeuer
from tests.unit.dispatcher_ports import wait_until

TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


class Producer:
    """Reports each record with the next of `reports` (None: confirmed), when `open` is set; `faults` come first."""

    def __init__(self):
        self.sent, self.reports, self.faults, self._waiting = [], [], [], []
        self.offsets = []
        self.open = threading.Event()
        self.open.set()
        self.threads = set()
        self.topics = {}
        self.errors = []
        self.purged = False

    def produce(self, topic, *, value, key, headers, on_delivery, partition):
        self.threads.add(threading.current_thread().name)
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append((topic, key, value, headers, partition))
        self._waiting.append(on_delivery)

    def poll(self, timeout):
        self.threads.add(threading.current_thread().name)
        time.sleep(min(timeout, 0.001))
        while self.errors:
            self.on_error(KafkaError(self.errors.pop(0)))
        while self._waiting and self.open.is_set():
            offset = self.offsets.pop(0) if self.offsets else 7
            message = SimpleNamespace(offset=lambda at=offset: at)
            self._waiting.pop(0)(self.reports.pop(0) if self.reports else None, message)

    def purge(self):
        self.purged = True

    def flush(self, timeout):
        while self._waiting:
            self._waiting.pop(0)(KafkaError(KafkaError._PURGE_QUEUE), None)

    def list_topics(self, topic, timeout):
        if not self.topics:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self.topics[topic].topics = {topic: self.topics[topic]}
        return self.topics[topic]


class Partitions:
    partitions = (0, 1, 2)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(requeue, "AGAIN_AFTER_S", 0.01)
    producer, fatal = Producer(), []
    producer.made = []

    def make(on_error):
        producer.made.append(on_error)
        producer.on_error = on_error
        return producer

    sender = Requeuer(make, fatal.append)
    sender.start()
    producer.confirmed, producer.fatal, producer.sender = [], fatal, sender

    def send(name, **more):
        sender.send(Letter("t", name, b"v", [("round", b"2")], lambda: producer.confirmed.append(name), **more))

    producer.send = send
    yield producer
    sender.stop()
    assert sender.join(5)


def test_a_letter_is_confirmed_by_its_report_and_not_before(world):
    world.open.clear()
    world.send(b"a")
    wait_until(lambda: world.sent)
    time.sleep(0.05)
    assert world.confirmed == []
    world.open.set()
    wait_until(lambda: world.confirmed == [b"a"])
    assert world.sent == [("t", b"a", b"v", [("round", b"2")], -1)]


def test_a_letter_without_a_confirmation_is_sent_again_until_it_has_one(world):
    world.reports = [TIMED_OUT, TIMED_OUT]
    world.send(b"a")
    wait_until(lambda: world.confirmed == [b"a"])
    assert len(world.sent) == 3


def test_a_report_without_an_offset_confirms_nothing(world):
    """So the client tells of a repeat that a broker refused as a duplicate, and it may be none."""
    world.offsets = [None, -1]
    world.send(b"a")
    wait_until(lambda: world.confirmed == [b"a"])
    assert len(world.sent) == 3


@pytest.mark.parametrize("fault", [BufferError("full"), KafkaException(TIMED_OUT)])
def test_a_letter_that_the_client_does_not_take_is_sent_again(world, fault):
    world.faults = [fault]
    world.send(b"a")
    wait_until(lambda: world.confirmed == [b"a"])


def test_a_fatal_error_is_told_and_confirms_nothing(world):
    world.reports = [KafkaError(KafkaError._FATAL, "fenced", fatal=True)]
    world.send(b"a")
    wait_until(lambda: world.fatal)
    assert "fenced" in world.fatal[0]


def test_a_burst_goes_to_one_partition(world):
    world.topics = {"t": Partitions()}
    world.open.clear()
    for number in range(50):
        world.send(b"%d" % number, spread=True)
    wait_until(lambda: len(world.sent) == 50)
    world.open.set()
    partitions = [entry[4] for entry in world.sent]
    assert set(partitions) <= {0, 1, 2}
    changes = sum(one != other for one, other in pairwise(partitions))
    assert changes < 10, "a few bursts, not a partition per record"


def test_while_kafka_does_not_say_how_many_partitions_there_are_the_client_chooses(world):
    world.send(b"a", spread=True)
    wait_until(lambda: world.confirmed)
    assert world.sent[0][4] == -1


def test_only_one_thread_touches_the_producer(world):
    for number in range(20):
        world.send(b"%d" % number)
    wait_until(lambda: len(world.confirmed) == 20)
    assert world.threads == {"requeue"}


def test_stopping_waits_for_what_is_not_confirmed_yet(world):
    world.open.clear()
    world.send(b"a")
    wait_until(lambda: world.sent)
    world.sender.stop()
    assert not world.sender.join(0.1)
    world.open.set()
    assert world.sender.join(5)
    assert world.confirmed == [b"a"]


def test_a_thread_that_ends_by_a_fault_ends_the_process():
    fatal = []
    sender = Requeuer(lambda on_error: 1 / 0, fatal.append)
    sender.start()
    wait_until(lambda: fatal)
    assert "the re-queue producer failed" in fatal[0]


def test_a_producer_whose_brokers_were_all_away_is_emptied_and_its_letters_go_out_with_another(world):
    """In another cluster its id would be somebody else's: what it sends would be acknowledged there, and not kept."""
    world.open.clear()
    world.send(b"a")
    wait_until(lambda: len(world.sent) == 1)
    world.errors.append(KafkaError._ALL_BROKERS_DOWN)
    wait_until(lambda: len(world.sent) == 2)
    assert world.purged
    assert len(world.made) == 2
    world.open.set()
    wait_until(lambda: world.confirmed == [b"a"])


def test_a_producer_that_sent_nothing_outlives_an_outage(world):
    world.errors += [KafkaError._ALL_BROKERS_DOWN] * 3
    wait_until(lambda: not world.errors)
    world.send(b"a")
    wait_until(lambda: world.confirmed == [b"a"])
    assert len(world.made) == 1
