"""What the looks at Kafka come to; that a sentence ends the process is test_dispatcher_source's."""

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.dispatcher.cluster import INTERVAL_S, ClusterWatch
from tests.unit.dispatcher_ports import Log

GONE = "the topic t is gone: beginning anew, which makes it"


class Looks:
    """A watch over a log, looked at once in each interval."""

    def __init__(self):
        self.log, self.now_s = Log({}), 0.0
        self.watch = ClusterWatch("t", "T", self.log.ask_cluster, self.log.ask_topic)
        self.look()

    def look(self):
        self.now_s += INTERVAL_S
        return self.watch.look(self.now_s)


@pytest.mark.parametrize(
    ("changed", "to", "sentence"),
    [
        ("cluster_id", "two", "Kafka was made anew (cluster two, before one): beginning anew"),
        # Where it has more records already than the old one had, no offset is out of range: the first would be lost.
        ("topic_id", "U", "the topic t was deleted and made again (id U): beginning anew"),
    ],
)
def test_another_cluster_or_topic_behind_the_name_is_told_at_the_look_after_the_question(changed, to, sentence):
    looks = Looks()
    assert looks.look() is None
    setattr(looks.log, changed, to)
    assert [looks.look(), looks.look()] == [None, sentence]


def test_a_topic_that_is_gone_is_told_but_not_at_the_first_look():
    """A broker that has just started may not have heard of the topic yet."""
    looks = Looks()
    looks.log.topic_gone = True
    assert [looks.look() for _ in range(3)] == [None, None, GONE]


def test_a_topic_that_is_heard_of_again_is_not_gone():
    looks = Looks()
    for gone in (True, False, True, False):
        looks.log.topic_gone = gone
        assert looks.look() is None


@pytest.mark.parametrize("question", ["ask_cluster", "ask_topic"])
def test_a_kafka_that_does_not_answer_says_nothing(question):
    looks = Looks()
    silent = Future()
    silent.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    looks.watch = ClusterWatch(
        "t", "T", **{"ask_cluster": looks.log.ask_cluster, "ask_topic": looks.log.ask_topic, question: lambda: silent}
    )
    assert [looks.look() for _ in range(5)] == [None] * 5


def test_no_question_is_asked_while_one_is_open():
    asked = []
    watch = ClusterWatch("t", "T", lambda: asked.append(1) or Future(), lambda: Future())
    assert [watch.look(INTERVAL_S * number) for number in range(1, 6)] == [None] * 5
    assert asked == [1]
