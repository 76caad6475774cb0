"""The hand-over against a producer that behaves as told: it never waits and never raises, whatever comes."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.common.lanes import PROBE_INTERVAL_S, TURN_S, Lanes
from services.ingestion_api.handover import Handover
from services.ingestion_api.store import Accepted


class Producer:
    """Takes `room` records; `report` ends one as acknowledged, or with an error."""

    def __init__(self, on_error):
        self.on_error = on_error
        self.room = 1_000_000
        self.error = None
        self.fatal = None
        self.leader = 1
        self.cluster_id = "one"
        self.topic_error = None
        self.taken = []
        self.due = []
        self.purged = 0

    def produce(self, topic, *, value, key, partition, timestamp, on_delivery):
        if self.error is not None:
            raise KafkaException(self.error)
        if len(self.taken) >= self.room:
            raise BufferError("Local: Queue full")
        self.taken.append(SimpleNamespace(key=key, value=value, partition=partition, on_delivery=on_delivery))

    def report(self, one, error=None, offset=7):
        message = SimpleNamespace(key=one.key.encode, partition=lambda: one.partition, offset=lambda: offset)
        self.due.append(lambda: one.on_delivery(error, message))

    def purge(self):
        self.purged += 1

    def list_topics(self, topic, timeout):
        if self.leader is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        partition = SimpleNamespace(leader=self.leader)
        topics = {topic: SimpleNamespace(error=self.topic_error, partitions={0: partition})}
        return SimpleNamespace(cluster_id=self.cluster_id, topics=topics)

    def poll(self, timeout_s):
        due, self.due = self.due, []
        for call in due:
            call()
        if self.fatal is not None:
            error, self.fatal = self.fatal, None
            raise KafkaException(error)


@pytest.fixture
def handover():
    producers = []

    def make(on_error):
        producers.append(Producer(on_error))
        return producers[-1]

    made = Handover(make, "topic", Lanes(3))
    made.producers = producers
    made.reports(0)
    return made


def all_down(handover):
    """No broker is there any more: not for the producer, nor for the one that takes its place."""
    handover.producers[-1].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    make = handover._make_producer

    def make_one_that_hears_nothing(on_error):
        made = make(on_error)
        made.leader = None
        return made

    handover._make_producer = make_one_that_hears_nothing
    handover.reports(0)


def rows(count, begin=0):
    return [Accepted(str(number), b"%d" % number, 5) for number in range(begin, begin + count)]


def test_a_burst_goes_to_one_partition_and_that_of_the_next_turn_to_the_next(handover, monkeypatch):
    for turn, burst in ((6, rows(10)), (7, rows(10, 10))):
        monkeypatch.setattr("services.ingestion_api.handover.time.monotonic", lambda now_s=turn * TURN_S: now_s)
        handover.send(burst)
    monkeypatch.undo()
    [producer] = handover.producers
    assert [one.partition for one in producer.taken] == [0] * 10 + [1] * 10
    assert [one.value for one in producer.taken] == [row.canonical for row in rows(20)]


def test_what_a_full_queue_does_not_take_is_left_to_the_publisher_without_a_wait(handover):
    handover.producers[0].room = 4
    handover.send(rows(10))
    assert len(handover.producers[0].taken) == 4
    assert handover._lanes.in_flight == 4, "only what was taken is waited for"
    assert handover.reports(0) == []


def test_only_a_delivery_report_without_an_error_counts_as_published(handover):
    handover.send(rows(2))
    [producer] = handover.producers
    assert handover.reports(0) == []
    producer.report(producer.taken[0])
    producer.report(producer.taken[1], KafkaError(KafkaError._MSG_TIMED_OUT))
    assert [(report.transaction_id, report.offset) for report in handover.reports(0)] == [("0", 7)]


@pytest.mark.parametrize("offset", [None, -1])
def test_a_report_without_an_offset_is_no_publishing(handover, offset):
    """So the client tells of a repeat that a broker refused as a duplicate, and it may be none."""
    handover.send(rows(2))
    [producer] = handover.producers
    producer.report(producer.taken[0], offset=offset)
    producer.report(producer.taken[1])
    assert [report.transaction_id for report in handover.reports(0)] == ["1"]
    assert handover.kafka_answers
    assert handover._lanes.in_flight == 0


def test_with_all_brokers_down_nothing_is_sent_and_no_producer_is_made_but_one(handover):
    all_down(handover)
    for begin in range(0, 100, 10):
        handover.send(rows(10, begin))
        handover.producers[-1].on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        handover.reports(0)
    assert [one.taken for one in handover.producers] == [[], []]
    assert not handover.kafka_answers


def test_a_producer_whose_brokers_were_all_away_sends_nothing_more(handover):
    """They may come back as another cluster, where its id is somebody else's by then: what that one sends would be
    taken for a repeat, acknowledged, and not kept."""
    handover.send(rows(2))
    [old] = handover.producers
    old.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    handover.send(rows(1, 2))
    assert len(old.taken) == 2, "nor in between"
    handover.reports(0)
    assert old.purged == 1
    assert handover._lanes.in_flight == 0, "what it held is the publisher's"


def test_a_fatal_error_that_a_poll_raises_makes_another_producer_and_costs_no_report(handover):
    handover.send(rows(2))
    [old] = handover.producers
    old.report(old.taken[0])
    old.fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order", fatal=True)
    assert [report.transaction_id for report in handover.reports(0)] == ["0"]
    assert len(handover.producers) == 2


def test_a_fatal_error_makes_another_producer_and_its_rows_are_the_publishers(handover):
    handover.send(rows(3))
    old = handover.producers[0]
    old.error = KafkaError(KafkaError._FATAL, "fenced", fatal=True)
    handover.send(rows(3, 3))
    handover.reports(0)
    handover.send(rows(3, 6))
    assert [one.key for one in old.taken] == ["0", "1", "2"]
    assert [one.key for one in handover.producers[1].taken] == ["6", "7", "8"]
    assert handover._lanes.in_flight == 3


@pytest.mark.parametrize(("leader", "answers"), [(None, False), (-1, False), (2, True)])
def test_brokers_that_are_back_are_noticed_without_a_payment(handover, leader, answers):
    """Else the first payments after an outage would wait for the publisher's sweep."""
    all_down(handover)
    assert not handover.kafka_answers
    handover.producers[-1].leader = leader
    handover._asked_s -= PROBE_INTERVAL_S
    handover.reports(0)
    assert handover.kafka_answers is answers
    handover.send(rows(10))
    assert len(handover.producers[-1].taken) == (10 if answers else 0)


def test_metadata_is_asked_for_at_most_once_a_second(handover):
    all_down(handover)
    handover.reports(0)
    handover.producers[-1].leader = 1
    handover.reports(0)
    assert not handover.kafka_answers


def test_before_it_is_known_which_cluster_answers_nothing_is_sent():
    producers = []

    def make(on_error):
        producers.append(Producer(on_error))
        producers[-1].leader = None
        return producers[-1]

    handover = Handover(make, "topic", Lanes(3))
    handover.reports(0)
    handover.send(rows(3))
    assert producers[0].taken == []


def test_what_a_producer_reports_goes_by_the_cluster_it_was_made_for_and_another_cluster_gets_another(handover):
    """A report of the old cluster that passed for one of the new would be a payment that nobody looks for."""
    [old] = handover.producers
    handover.send(rows(2))
    old.cluster_id = "two"
    old.report(old.taken[0])
    handover._asked_s -= 60
    assert [report.cluster_id for report in handover.reports(0)] == ["one"]
    handover.send(rows(1, 2))
    _, new = handover.producers
    assert [one.key for one in new.taken] == ["2"]
    new.report(new.taken[0])
    assert [report.cluster_id for report in handover.reports(0)] == ["two"]
    assert handover._lanes.in_flight == 0, "what the old one held is waited for no more"


def test_another_cluster_is_noticed_before_it_has_the_topic_and_gets_nothing_until_then(handover):
    [old] = handover.producers
    old.cluster_id, old.topic_error = "two", KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    handover._asked_s -= 60
    handover.reports(0)
    handover.send(rows(1))
    _, new = handover.producers
    assert (old.taken, new.taken) == ([], [])
    new.cluster_id = "two"
    handover._asked_s -= 60
    handover.reports(0)
    handover.send(rows(1))
    assert [one.key for one in new.taken] == ["0"]


def test_a_replica_that_was_frozen_sends_nothing_before_it_has_looked_again(handover):
    [producer] = handover.producers
    handover._awake_s -= 60
    producer.leader = None
    for _ in range(2):
        handover.send(rows(1))
        handover._asked_s -= 60
        handover.reports(0)
    assert producer.taken == [], "nor after a look that nobody answered"
    producer.leader = 1
    handover._asked_s -= 60
    handover.reports(0)
    handover.send(rows(1))
    assert len(producer.taken) == 1


def test_what_an_emptied_producer_reports_closes_no_lane_of_the_next(handover):
    [old] = handover.producers
    handover._lanes = Lanes(1)
    handover.send(rows(1))
    old.report(old.taken[0], KafkaError(KafkaError._PURGE_INFLIGHT))
    old.cluster_id = "two"
    handover._replace = True
    old.poll, served = (lambda timeout_s: None), old.poll
    old.purge = lambda: setattr(old, "poll", served)
    handover.reports(0)
    assert len(handover.producers) == 2
    assert handover.kafka_answers
