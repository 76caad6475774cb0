from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.common.lanes import Lanes
from services.outbox_publisher.courier import Courier, ProducerFatalError


def raising(error):
    def poll(timeout_s):
        raise KafkaException(error)

    return lambda on_error: SimpleNamespace(poll=poll)


def test_a_fatal_error_that_a_poll_raises_ends_the_publisher_with_its_reason_and_no_traceback():
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
    with pytest.raises(ProducerFatalError, match="out of order"):
        Courier(raising(fatal), "topic", Lanes(3)).poll(0)


def test_an_error_that_is_not_fatal_ends_nothing():
    Courier(raising(KafkaError(KafkaError._TRANSPORT)), "topic", Lanes(3)).poll(0)
