"""What the looks at Kafka come to; that a sentence ends the process is test_dispatcher_source's."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.dispatcher.cluster import INTERVAL_S, SETTLED_LOOKS, Asker, ClusterWatch, Told
from tests.unit.dispatcher_ports import Log, answered

METADATA = SimpleNamespace(cluster_id="one")
SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))
UNKNOWN = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
GONE = "the topic t is gone: beginning anew, which makes it"


class Looks:
    """A watch over a log, looked at once in each interval."""

    def __init__(self):
        self.log, self.now_s = Log({}), 0.0
        self.watch = ClusterWatch("t", "T", self.log.ask_cluster)
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


@pytest.mark.parametrize(
    "silent",
    [
        answered(KafkaException(KafkaError(KafkaError._TIMED_OUT))),
        answered(Told("", None)),
        answered(Told("one", None)),
    ],
)
def test_a_kafka_that_does_not_answer_says_nothing(silent):
    looks = Looks()
    looks.watch = ClusterWatch("t", "T", lambda: silent)
    assert [looks.look() for _ in range(5)] == [None] * 5


def test_no_question_is_asked_while_one_is_open():
    asked = []
    watch = ClusterWatch("t", "T", lambda: asked.append(1) or Future())
    assert [watch.look(INTERVAL_S * number) for number in range(1, 6)] == [None] * 5
    assert asked == [1]


class Admin:
    """Kafka's admin client; `metadata` and `description` are what it answers, or raises."""

    def __init__(self, metadata, description):
        self.metadata, self.description = metadata, description
        self.described = 0

    def list_topics(self, topic, timeout):
        if isinstance(self.metadata, Exception):
            raise self.metadata
        return self.metadata

    def describe_topics(self, topics, request_timeout):
        self.described += 1
        return {"t": answered(self.description)}


@pytest.mark.parametrize(
    ("description", "topic_id"),
    [(SimpleNamespace(topic_id="T"), "T"), (UNKNOWN, ""), (SILENT, None), (TimeoutError(), None)],
)
def test_the_answer_tells_a_topic_that_is_gone_from_one_that_nobody_spoke_of(description, topic_id):
    assert Asker(Admin(METADATA, description), "t")().result(5) == ("one", topic_id)


def test_no_description_is_asked_for_while_kafka_is_away_nor_while_it_comes_back():
    """One that waits for a broker takes up to a whole core."""
    admin = Admin(SILENT, SimpleNamespace(topic_id="T"))
    ask = Asker(admin, "t")
    assert ask().exception(5) is SILENT
    admin.metadata = METADATA
    assert [ask().result(5) for _ in range(SETTLED_LOOKS)] == [("one", None)] * SETTLED_LOOKS
    assert admin.described == 0
    assert ask().result(5) == ("one", "T")


def test_a_question_that_fails_for_any_other_reason_is_answered_too():
    assert isinstance(Asker(Admin(ValueError("of the client"), None), "t")().exception(5), ValueError)
