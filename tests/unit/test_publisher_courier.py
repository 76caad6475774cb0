import time
from functools import partial
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.common.lanes import Lanes
from services.common.redeliveries import Due
from services.outbox_publisher.courier import Courier, ProducerFatalError
from services.outbox_publisher.leases import Claimed


def raising(error):
    def poll(timeout_s):
        raise KafkaException(error)

    return lambda on_error: SimpleNamespace(poll=poll)


def test_a_fatal_error_that_a_poll_raises_ends_the_publisher_with_its_reason_and_no_traceback():
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
    with pytest.raises(ProducerFatalError, match="out of order"):
        Courier(raising(fatal), "topic", Lanes(3)).poll(0)


@pytest.mark.parametrize("offset", [None, -1])
def test_a_report_without_an_offset_counts_as_failed(offset):
    """So the client tells of a repeat that a broker refused as a duplicate, and it may be none."""

    def produce(topic, *, key, partition, on_delivery, **rest):
        at = {"a": offset, "b": 0}[key]
        on_delivery(None, SimpleNamespace(key=key.encode, partition=lambda: partition, offset=lambda: at))

    courier = Courier(lambda on_error: SimpleNamespace(produce=produce), "topic", Lanes(3))
    courier.belong_to("cluster")
    courier.send([Claimed("a", b"{}", 5, False), Claimed("b", b"{}", 5, False)], 1)
    acknowledged, failed = courier.take()
    assert [(report.transaction_id, report.offset) for report in acknowledged] == [("b", 0)]
    assert failed == ["a"]


def test_a_fatal_error_of_a_producer_of_another_cluster_does_not_end_the_one_that_takes_its_place():
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)

    def flush(timeout_s):
        raise KafkaException(fatal)

    made = [SimpleNamespace(purge=lambda: None, flush=flush), SimpleNamespace(poll=lambda timeout_s: 0)]
    courier = Courier(lambda on_error: made.pop(0), "topic", Lanes(3))
    courier.belong_to("before")
    courier.belong_to("after")
    courier.poll(0)
    assert made == []


class Producer:
    """Holds what it is given until it is purged."""

    def __init__(self, on_error):
        self.on_error = on_error
        self.cluster_id = "cluster"
        self.leader = 1
        self.held = []
        self.emptied = []

    def produce(self, topic, *, key, partition, on_delivery, **rest):
        message = SimpleNamespace(key=key.encode, partition=lambda: partition, offset=lambda: None)
        self.held.append((key, partial(on_delivery, KafkaError(KafkaError._PURGE_INFLIGHT), message)))

    def purge(self):
        self.emptied, self.held = self.held, []

    def flush(self, timeout_s):
        for _, report in self.emptied:
            report()
        return 0

    def poll(self, timeout_s):
        return 0

    def list_topics(self, topic, timeout):
        topics = {topic: SimpleNamespace(error=None, partitions={0: SimpleNamespace(leader=self.leader)})}
        return SimpleNamespace(cluster_id=self.cluster_id, topics=topics)


@pytest.fixture
def producers():
    return []


@pytest.fixture
def courier(producers):
    def make(on_error):
        producers.append(Producer(on_error))
        return producers[-1]

    made = Courier(make, "topic", Lanes(1))
    made.belong_to("cluster")
    return made


def test_a_producer_whose_brokers_were_all_away_is_emptied_and_not_used_on(courier, producers):
    """They may come back as another cluster, where its id is somebody else's by then: what that one sends would be
    taken for a repeat, acknowledged, and not kept."""
    courier.send([Claimed("a", b"{}", 5, False)], 0)
    producers[0].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    courier.poll(0)
    assert courier.take() == ([], ["a"])
    assert courier.in_flight == 0
    assert courier.room(time.monotonic() + 60) is not None, "the same cluster answers"
    courier.send([Claimed("b", b"{}", 5, False)], 0)
    assert [[key for key, _ in one.held] for one in producers] == [[], ["b"]]


def test_a_late_acknowledgement_of_an_emptied_producer_does_not_let_the_next_one_send_unasked(courier, producers):
    courier.send([Claimed("a", b"{}", 5, False)], 0)
    message = SimpleNamespace(key="a".encode, partition=lambda: 0, offset=lambda: 7)
    producers[0].flush = lambda timeout_s: courier._on_delivery("cluster", None, None, message)
    producers[0].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    courier.poll(0)
    assert [report.transaction_id for report in courier.take()[0]] == ["a"]
    producers[1].leader = -1
    assert courier.room(time.monotonic() + 60) is None


def test_a_producer_that_sent_nothing_outlives_an_outage(courier, producers):
    """Else an outage would make another one with each of its errors."""
    for _ in range(3):
        producers[-1].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        courier.poll(0)
    assert len(producers) == 1


def test_after_an_outage_nothing_is_claimed_for_another_cluster_until_the_courier_belongs_to_it(courier, producers):
    producers[0].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    producers[0].cluster_id = "other"
    now_s = time.monotonic()
    assert courier.room(now_s) is None
    courier.belong_to("other")
    producers[-1].cluster_id = "other"
    assert courier.room(now_s) is not None


def test_an_error_that_is_not_fatal_ends_nothing():
    Courier(raising(KafkaError(KafkaError._TRANSPORT)), "topic", Lanes(3)).poll(0)


def test_a_redelivery_goes_out_with_its_number_and_its_report_is_not_taken_for_the_payments_own():
    """A late report of the payment's first record must not pass for the redelivery's, nor the other way round."""
    sent = []

    def produce(topic, *, key, partition, on_delivery, headers, timestamp, **rest):
        sent.append((headers, timestamp))
        offset = {"a": 7, "b": 8}[key] if len(sent) < 3 else None
        on_delivery(None, SimpleNamespace(key=key.encode, partition=lambda: partition, offset=lambda: offset))

    courier = Courier(lambda on_error: SimpleNamespace(produce=produce), "topic", Lanes(3))
    courier.belong_to("cluster")
    courier.send([Claimed("a", b"{}", 5, False), Due(4, "b", b"{}", 9, False), Due(5, "a", b"{}", 9, False)], 1)
    assert sent == [([], 5), ([("redelivery", b"4")], 9), ([("redelivery", b"5")], 9)]
    acknowledged, failed = courier.take()
    assert ([report.transaction_id for report in acknowledged], failed) == (["a"], [])
    redelivered, failed_redeliveries = courier.take_redeliveries()
    assert [(report.number, report.partition, report.offset) for report in redelivered] == [(4, 1, 8)]
    assert failed_redeliveries == [5]


def test_redeliveries_that_the_producer_does_not_take_are_given_back_as_such():
    def produce(topic, **rest):
        raise BufferError

    courier = Courier(lambda on_error: SimpleNamespace(produce=produce), "topic", Lanes(3))
    courier.belong_to("cluster")
    courier.send([Claimed("a", b"{}", 5, False), Due(4, "b", b"{}", 9, False)], 1)
    assert courier.take() == ([], ["a"])
    assert courier.take_redeliveries() == ([], [4])
