"""What ends the consumer thread, and with it the process, and what does not."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from tests.unit.dispatcher_ports import Log, wait_until
from tests.unit.test_dispatcher_source import content, records, worlds


@pytest.fixture
def world():
    yield from worlds()


def test_a_fatal_client_error_ends_the_process_with_a_clear_line(world):
    one = world(Log({0: records()}))
    one.erred(KafkaError(KafkaError._FENCED, "fenced by another", fatal=True))
    assert one.sink.sentences == ["Kafka refuses this consumer for good: fenced by another (_FENCED)"]


def test_a_fatal_error_is_one_also_where_only_its_code_says_so(world):
    """A fenced static member hears of it from a poll, as a message whose error has no fatal flag."""
    one = world(Log({0: records()}))
    error = KafkaError(KafkaError._FATAL, "fenced by another")
    assert not error.fatal()
    one.log.extra = Message(topic="t", partition=0, offset=0, error=error)
    wait_until(lambda: one.sink.sentences)
    assert one.sink.sentences[0] == "Kafka refuses this consumer for good: fenced by another (_FATAL)"


def test_a_fatal_error_is_heard_though_the_assignment_is_lost_beside_it(world):
    """A static member that is fenced hears of it once, among the records, and loses its partitions at that moment."""
    one = world(Log({0: records(*range(5))}))
    wait_until(lambda: len(one.offsets()) == 5)

    def fence():
        one.log.extra = Message(topic="t", partition=0, offset=0, error=KafkaError(KafkaError._FATAL, "fenced"))
        one.log.script.append(lambda: one.log.rebalance("lost", 0))

    one.log.script.append(fence)
    wait_until(lambda: one.sink.sentences)
    assert one.sink.sentences[0] == "Kafka refuses this consumer for good: fenced (_FATAL)"


class Foreign(Message):
    """What the client says of a record with a header whose name is not UTF-8."""

    def headers(self):
        raise SystemError("<method 'headers'> returned a result with an exception set")


def test_headers_that_the_client_cannot_read_neither_stop_the_partition_nor_the_delivery(world):
    log = Log({0: records(1)}, {0: (0, "")})
    key, value = content(0)
    log.extra = Foreign(topic="t", partition=0, offset=0, key=key, value=value, timestamp=(1, 1))
    one = world(log)
    wait_until(lambda: one.offsets() == [0, 1])
    assert one.sink.taken[0].body == value


def test_an_error_that_passes_ends_nothing(world):
    one = world(Log({0: records(1)}))
    one.erred(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    wait_until(lambda: one.offsets() == [1])
    assert one.sink.sentences == []


def test_a_consumer_thread_that_dies_ends_the_process(world):
    one = world(Log({0: records()}))

    def die():
        raise KafkaException(KafkaError(KafkaError._STATE))

    one.log.script.append(die)
    wait_until(lambda: one.sink.sentences)
    assert "the Kafka consumer failed" in one.sink.sentences[0]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("services.dispatcher.cluster.INTERVAL_S", 0.02)


def test_another_cluster_that_answers_ends_the_process_saying_so(world, impatient):
    log = Log({0: records(0)})
    one = world(log)
    wait_until(lambda: log.looks)
    log.cluster_id = "two"
    wait_until(lambda: one.sink.sentences)
    assert one.sink.sentences[0] == "Kafka was made anew (cluster two, before one): beginning anew"
