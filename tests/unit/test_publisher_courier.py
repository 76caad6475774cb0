from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.common.lanes import Lanes
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


def test_an_error_that_is_not_fatal_ends_nothing():
    Courier(raising(KafkaError(KafkaError._TRANSPORT)), "topic", Lanes(3)).poll(0)
