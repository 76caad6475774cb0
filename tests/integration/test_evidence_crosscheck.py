"""Postgres and Kafka compared for real: what is found, what is not disturbed, and what is said where Kafka is away."""

import json
import threading
import uuid
from dataclasses import replace

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from control_room.tracking.evidence import gather, topic_id, wait_for_drain
from control_room.tracking.evidence import kafka_log as kafka_log_module
from control_room.tracking.evidence.crosscheck import CrossCheck
from control_room.tracking.evidence.kafka_log import KafkaLog
from control_room.tracking.evidence.stores_sql import StoreReader
from control_room.tracking.parts import SourceError
from control_room.verify import check
from services.common.bitmap import encode
from services.common.kafka import GROUP_ID, ensure_topics, make_admin, make_consumer, make_producer
from services.common.settings import KafkaSettings
from tests.integration.test_evidence_stores import PAY, TRY, begun
from tests.unit.histories import History
from tests.unit.ledger_server import Ledger, serving

pytest_plugins = ["tests.integration.fixtures_stores"]


class Topic:
    """A topic of a test's own, with a group on it that stands for the dispatcher's."""

    def __init__(self, settings, group):
        self.settings = settings
        self.group = group
        self.name = settings.kafka_topic
        self._producer = make_producer(settings, "tests")

    def put(self, *ids, partition=0, round_=1):
        """The offsets at which records of these ids then lie."""
        places = []
        for id_ in ids:
            self._producer.produce(
                self.name,
                key=id_,
                value=b"{}",
                partition=partition,
                headers=[("round", b"%d" % round_)],
                on_delivery=lambda error, message: places.append(message.offset()),
            )
        self._producer.flush(20)
        assert len(places) == len(ids)
        return places

    def commit(self, offset, *, finished=(), partition=0):
        bits = bytearray(64)
        for each in finished:
            position = each - (offset & ~7)
            bits[position >> 3] |= 1 << (position & 7)
        consumer = make_consumer(self.settings, "tests", group_id=self.group)
        place = TopicPartition(self.name, partition, offset, encode(bytes(bits)))
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()

    def committed(self):
        admin = make_admin(self.settings, "tests")
        asked = ConsumerGroupTopicPartitions(self.group, [TopicPartition(self.name, number) for number in range(3)])
        told = admin.list_consumer_group_offsets([asked])[self.group].result(10).topic_partitions
        return [(each.partition, each.offset, each.metadata) for each in told]

    def groups(self):
        """The dispatcher's own group with its members, and every group there is."""
        admin = make_admin(self.settings, "tests")
        members = admin.describe_consumer_groups([GROUP_ID])[GROUP_ID].result(10).members
        return [member.member_id for member in members], {
            group.group_id for group in admin.list_consumer_groups().result(10).valid
        }


@pytest.fixture
def topic(kafka_bootstrap):
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic=f"test-{uuid.uuid4().hex[:12]}")
    ensure_topics(settings, "tests")
    yield Topic(settings, settings.kafka_topic)
    admin = make_admin(settings, "tests")
    for future in admin.delete_topics([settings.kafka_topic, settings.dead_topic]).values():
        future.result(20)


@pytest.fixture
def rows(database):
    database.execute("TRUNCATE deliveries, delivery_attempts")

    def pay(id_, partition, offset, state="delivered"):
        database.execute(PAY, {"id": id_, "published": True})
        place = "UPDATE outbox_events SET kafka_partition = %s, kafka_offset = %s WHERE transaction_id = %s"
        database.execute(place, [partition, offset, id_])
        if state:
            database.execute(TRY, {"id": id_, "state": state, "error": None})

    return pay


@pytest.fixture
def ledger():
    return Ledger(page_lines=1000)


@pytest.fixture
def endpoints(topic, postgres_conninfo, ledger):
    with serving(ledger) as served:
        kafka = {"kafka_bootstrap": topic.settings.kafka_bootstrap_servers, "kafka_topic": topic.name}
        kafka["kafka_group"] = topic.name
        yield replace(served, **kafka, postgres_conninfo=postgres_conninfo)


@pytest.fixture
def history(tmp_path, endpoints, ledger):
    history = History(tmp_path / "runs" / "run", ledger_from=0)
    history.drain = history.stores = history.crosscheck = None
    history.merchant = ledger
    history.settings = {"topic_id": topic_id(endpoints), "started_at": 0}
    return history


def ids(count):
    return [str(uuid.uuid4()) for _ in range(count)]


def delivered(history, endpoints, sent):
    for id_ in sent:
        history.send(id_)
        history.merchant.add(id_)


def judged(endpoints, history, *, deadline_s=10):
    folder = begun(history)
    wait_for_drain(endpoints, folder, deadline_s, linger_s=0)
    gather(endpoints, folder, patience_s=1)
    return check(folder)


def kinds(verdict):
    return {one.kind: list(one.ids) for one in verdict.stores.disagreements}


def test_a_run_whose_stores_agree_is_proven_and_the_dispatchers_group_is_not_disturbed(topic, rows, history, endpoints):
    sent = ids(50)
    for id_, offset in zip(sent, topic.put(*sent), strict=True):
        rows(id_, 0, offset)
    topic.commit(50)
    before = topic.committed(), topic.groups()
    delivered(history, endpoints, sent)
    verdict = judged(endpoints, history)
    assert (verdict.exit_code, verdict.notes, kinds(verdict)) == (0, (), {})
    assert verdict.stores.compared.startswith("50 payments = 50 outbox rows; 50 of 50 published rows found")
    assert (topic.committed(), topic.groups()) == before


def test_rows_whose_records_are_not_where_they_say_are_named(topic, rows, history, endpoints):
    sent = ids(4)
    topic.put(*sent)
    for id_, offset in zip(sent, (0, 2, 2, 99), strict=True):
        rows(id_, 0, offset)
    topic.commit(4)
    delivered(history, endpoints, sent)
    verdict = judged(endpoints, history)
    assert verdict.exit_code == 10
    assert {name: set(found) for name, found in kinds(verdict).items()} == {"false-mark": {sent[1], sent[3]}}
    found = [json.loads(line) for line in (history.folder / "crosscheck.jsonl").read_text().splitlines()]
    assert {(one["id"], one["found"]) for one in found if one["k"] == "marked"} == {
        (sent[1], "other"),
        (sent[3], "beyond"),
    }


def test_records_that_a_bitmap_covers_are_finished_and_those_between_are_open(topic, rows, history, endpoints):
    sent = ids(6)
    for id_, offset in zip(sent, topic.put(*sent), strict=True):
        rows(id_, 0, offset)
    topic.put(sent[0], partition=2, round_=2)
    topic.commit(2, finished=(3, 5))
    delivered(history, endpoints, sent)
    verdict = judged(endpoints, history)
    assert verdict.exit_code == 0
    assert set(kinds(verdict)["uncommitted"]) == {sent[0], sent[2], sent[4]}
    assert verdict.stores.compared.endswith("3 records of this run left open by the dispatcher's commits")


def test_a_requeue_that_never_reached_kafka_is_lost_and_one_that_did_is_late(topic, rows, history, endpoints):
    gone, waiting, skipped = sent = ids(3)
    for (id_, state), offset in zip(
        {gone: "requeued", waiting: "requeued", skipped: None}.items(), topic.put(*sent), strict=True
    ):
        rows(id_, 0, offset, state)
        history.send(id_)
    topic.put(waiting, partition=1, round_=2)
    topic.commit(3)
    verdict = judged(endpoints, history, deadline_s=0)
    assert verdict.exit_code == 10
    assert set(verdict.examples["lost"]) == {gone, skipped}
    assert verdict.examples["late"] == (waiting,)
    assert set(kinds(verdict)["given-up"]) == {gone, skipped}
    assert "no record of it in Kafka is left to deliver" in verdict.why[gone]


def test_a_topic_made_anew_makes_old_places_a_note_and_waiting_ids_late(topic, rows, history, endpoints):
    arrived, waiting = ids(2)
    rows(arrived, 0, 7)
    rows(waiting, 0, 8, None)
    history.settings["topic_id"] = "the one before"
    delivered(history, endpoints, [arrived])
    history.send(waiting)
    verdict = judged(endpoints, history, deadline_s=0)
    assert (verdict.exit_code, verdict.classes["late"]) == (11, 1)
    assert set(kinds(verdict)) == {"old-mark"}


def test_with_kafka_away_the_run_is_judged_and_the_gap_is_said(topic, rows, history, endpoints):
    sent = ids(2)
    for id_, offset in zip(sent, topic.put(*sent), strict=True):
        rows(id_, 0, offset)
    delivered(history, endpoints, sent)
    endpoints = replace(endpoints, kafka_bootstrap="127.0.0.1:1")
    verdict = judged(endpoints, history)
    assert verdict.exit_code == 0
    assert any("no broker answers" in note for note in verdict.notes)
    assert topic_id(endpoints) is None


def test_a_topic_that_is_made_a_moment_later_is_waited_for(topic, endpoints):
    settings = topic.settings.model_copy(update={"kafka_topic": f"{topic.name}-late"})
    late = replace(endpoints, kafka_topic=settings.kafka_topic)
    with KafkaLog(late) as log, pytest.raises(SourceError, match=r"what the topic .*-late is"):
        log.look()
    makes = threading.Timer(1.0, ensure_topics, [settings, "tests"])
    makes.start()
    with KafkaLog(late, topic_patience_s=30.0) as log:
        assert len(log.look()) == settings.kafka_topic_partitions
    makes.join()
    admin = make_admin(settings, "tests")
    for future in admin.delete_topics([settings.kafka_topic, settings.dead_topic]).values():
        future.result(20)


def test_many_ids_are_sampled_evenly_with_the_newest_among_them(
    topic, rows, endpoints, postgres_conninfo, tmp_path, monkeypatch
):
    monkeypatch.setattr("control_room.tracking.evidence.crosscheck.MAX_LOOKED_UP", 20)
    monkeypatch.setattr("control_room.tracking.evidence.crosscheck.SAMPLE_IDS", 5)
    sent = ids(100)
    for id_, offset in zip(sent, topic.put(*sent), strict=True):
        rows(id_, 0, offset)
    topic.commit(100)
    reader = StoreReader(postgres_conninfo)
    with KafkaLog(endpoints) as log:
        crosscheck = CrossCheck(log, None)
        crosscheck.ask_kafka(set(sent))
        crosscheck.write(endpoints, reader, tmp_path, sent)
    reader.close()
    last = json.loads((tmp_path / "crosscheck.jsonl").read_text().splitlines()[-1])
    assert last["marked"] | {"wrong": 0} == last["marked"]
    assert (last["ids"], last["marked"]["rows"], last["marked"]["read"], last["marked"]["every"]) == (100, 20, 20, 5)


def test_reading_ends_with_its_budget_and_says_that_it_did(topic, endpoints, monkeypatch):
    sent = ids(30)
    topic.put(*sent)
    topic.commit(0)
    monkeypatch.setattr(kafka_log_module, "MAX_READ", 10)
    with KafkaLog(endpoints) as log:
        found = log.open_records(log.look(), set(sent))
    assert (found.records, found.complete) == (10, False)
    with KafkaLog(endpoints, budget_s=0) as log:
        assert not log.open_records(log.look(), set(sent)).complete
        assert list(log.keys(0, [1, 2])) == []
