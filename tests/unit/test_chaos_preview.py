"""A preview says what a fault will hit now, from what the members say."""

from types import SimpleNamespace

import pytest

from control_room.chaos.live import LiveState
from control_room.chaos.preview import consequence
from control_room.stack.runtime import API_REPLICAS, MEMBERS, MemberStatus, State
from control_room.tracking.kafka_view import KafkaStatus, PartitionStatus
from control_room.tracking.pipeline import OutboxStatus
from tests.unit.member_processes import ProcessRuntime


def kafka(in_sync=(1, 2, 3), brokers=(1, 2, 3), controller=1, exists=True):
    partitions = tuple(PartitionStatus(n, n + 1, (1, 2, 3), tuple(in_sync), 10, 10, 0) for n in range(3))
    return KafkaStatus(brokers, controller, "t", exists, 2, partitions if exists else (), "g")


def live(**parts):
    told = {"kafka": None, "outbox": None, "dispatcher": None, "merchant": None, "members": {}, "away": set()}
    return SimpleNamespace(**{**told, **parts})


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (kafka(), "leads 1 of 3 partitions, in-sync 3→2, minimum 2: writes go on"),
        (kafka(controller=2), "leads 1 of 3 partitions, in-sync 3→2, minimum 2, is the controller: writes go on"),
        (
            kafka(in_sync=(2, 3)),
            "leads 1 of 3 partitions, in-sync 2→1, minimum 2: writes stop, payments wait in the outbox",
        ),
        (
            kafka(in_sync=(1, 3)),
            "leads 1 of 3 partitions, minimum 2: it is in no in-sync set, so writes go on as they are",
        ),
        (kafka(exists=False), "topic t does not exist yet"),
    ],
)
def test_a_broker(cluster, words):
    assert consequence("kafka-2", live(kafka=cluster)) == words


def test_the_broker_that_breaks_the_quorum_is_named_as_such():
    assert "only 1 of 3 brokers left: no quorum" in consequence("kafka-2", live(kafka=kafka(brokers=(2, 3))))


def test_a_replica_counts_the_others():
    members = {name: MemberStatus(name, State.RUNNING, True) for name in API_REPLICAS}
    assert consequence("ingestion-api-1", live(members=members)).startswith("2 of 3 replicas")
    away = {"ingestion-api-2", "ingestion-api-3"}
    assert consequence("ingestion-api-1", live(members=members, away=away)).startswith("no other replica is up")


def test_a_further_replica_leaves_its_work_to_the_others():
    members = {name: MemberStatus(name, State.RUNNING, True) for name in ("dispatcher", "dispatcher-2", *API_REPLICAS)}
    assert consequence("dispatcher-2", live(members=members)) == "dispatcher goes on and takes over its work"
    assert "nothing is delivered" in consequence("dispatcher-2", live(members=members, away={"dispatcher"}))
    members["ingestion-api-4"] = MemberStatus("ingestion-api-4", State.RUNNING, True)
    assert consequence("ingestion-api-4", live(members=members)).startswith("3 of 4 replicas")


def test_brokers_that_are_away_count_before_kafka_has_noticed():
    assert "in-sync 2→1, minimum 2: " in consequence("kafka-2", live(kafka=kafka(), away={"kafka-3", "postgres"}))
    assert "only 0 of 3 brokers left" in consequence("kafka-2", live(kafka=kafka(), away={"kafka-1", "kafka-3"}))


def test_a_frozen_member_and_one_about_to_be_hit_are_away():
    runtime = ProcessRuntime(["kafka-1", "kafka-2", "kafka-3"])
    runtime.freeze(["kafka-1"])
    state = LiveState(runtime)
    state.hit.add("kafka-2")
    assert state.away == {"kafka-1", "kafka-2"}
    runtime.close()


def test_figures_of_the_moment_are_in_the_sentence():
    assert consequence("outbox-publisher", live(outbox=OutboxStatus(12, 0, 1.0))).startswith("12 rows wait")
    told = {"in_flight": 3, "retrying": 2, "parked": 40}
    assert consequence("dispatcher", live(dispatcher=told)).startswith("3 in flight, 2 retrying, 40 parked: ")


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_has_a_sentence_when_nothing_answers(member):
    assert len(consequence(member, live())) > 20
