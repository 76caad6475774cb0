"""Bursts: however many events come, requests to Kafka are bounded, and nothing waits longer than it may."""

import threading

import pytest

from services.common.event import Event
from services.ingestion_api.bursts import ENOUGH_EVENTS, SHORTEST_S, Bursts
from services.ingestion_api.group_commit import GroupCommit
from services.ingestion_api.store import Accepted, Outcome, Settled
from tests.asgi_client import LOOP, in_loop
from tests.unit import test_api_group_commit as groups


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sent():
    return []


@pytest.fixture
def bursts(clock, sent):
    return Bursts(sent.append, longest_s=0.08, clock=clock)


def rows(*names):
    return [Accepted(name, b"", 0) for name in names]


def leave(bursts, clock, late_s=0.0):
    """Adds one event and lets its burst leave, so much after its time; how long it was to wait."""
    bursts.add(rows("x"))
    wait_s = bursts.send_due() or 0.0
    clock.now_s += wait_s + late_s + 1e-9
    bursts.send_due()
    return wait_s


def test_what_is_committed_before_the_next_round_time_leaves_together_then(bursts, clock, sent):
    clock.now_s = 100.0012
    bursts.add(rows("a"))
    assert bursts.send_due() == pytest.approx(0.0038)
    clock.now_s = 100.0031
    bursts.add(rows("b", "c"))
    assert bursts.send_due() == pytest.approx(0.0019)
    assert sent == []
    clock.now_s = 100.0051
    assert bursts.send_due() is None
    assert sent == [rows("a", "b", "c")]


def test_replicas_that_share_a_clock_send_at_the_same_time(clock):
    theirs = [[], [], []]
    replicas = [Bursts(sent.append, longest_s=0.08, clock=clock) for sent in theirs]
    dues = set()
    for replica, at_s in zip(replicas, (100.0001, 100.0027, 100.0049), strict=True):
        clock.now_s = at_s
        replica.add(rows("a"))
        dues.add(round(at_s + replica.send_due(), 6))
    assert dues == {100.005}


def test_nothing_held_is_nothing_to_send(bursts, sent):
    assert bursts.send_due() is None
    bursts.send_all()
    assert sent == []


def test_a_replica_that_is_late_gathers_longer_but_never_longer_than_it_may(bursts, clock):
    for _ in range(50):
        assert leave(bursts, clock, late_s=0.006) <= 0.08
    assert bursts.step_s == 0.02
    for _ in range(50):
        leave(bursts, clock, late_s=1.0)
    assert bursts.step_s == 0.08


def test_a_replica_that_is_on_time_again_is_quick_again(bursts, clock):
    for _ in range(50):
        leave(bursts, clock, late_s=0.05)
    for _ in range(50):
        leave(bursts, clock)
    assert bursts.step_s == 0.005
    assert leave(bursts, clock) <= 0.005


def test_the_longest_wait_may_be_none_at_all(clock, sent):
    bursts = Bursts(sent.append, longest_s=0.0, clock=clock)
    bursts.add(rows("a"))
    assert bursts.send_due() is None
    assert sent == [rows("a")]


def test_what_is_enough_for_a_request_does_not_wait_for_more(bursts, clock, sent):
    clock.now_s = 100.001
    bursts.add(rows(*map(str, range(ENOUGH_EVENTS))))
    assert bursts.send_due() is None
    assert len(sent[0]) == ENOUGH_EVENTS


def test_however_many_groups_come_there_are_few_bursts_and_every_event_is_in_one(bursts, clock, sent):
    for number in range(1000):
        bursts.add(rows(str(number)))
        bursts.send_due()
        clock.now_s += 0.001
    bursts.send_all()
    assert [row for burst in sent for row in burst] == rows(*map(str, range(1000)))
    assert len(sent) <= 1 + 1000 * 0.001 / SHORTEST_S + 1


@pytest.fixture
def writer(monkeypatch, sent):
    def commit(connection, events: list[Event], member):
        accepted = [Accepted(one.transaction_id, b"", 0) for one in events]
        return Settled([Outcome.ACCEPTED] * len(events), accepted)

    monkeypatch.setattr(groups.group_commit, "commit_group", commit)
    held = Bursts(sent.append, longest_s=0.08)
    made = GroupCommit(
        groups.Link(),
        "api",
        deadline_s=5,
        max_events=10,
        after_commit=held.add,
        between=held.send_due,
        at_end=held.send_all,
    )
    made.start(LOOP)
    yield made
    made.stop(5)


def test_what_is_held_leaves_when_its_time_comes_without_another_request(writer, sent):
    in_loop(writer.submit(groups.event("a")))
    in_loop(writer.submit(groups.event("b")))
    for _ in range(200):
        if sum(map(len, sent)) == 2:
            break
        threading.Event().wait(0.01)
    assert [row for burst in sent for row in burst] == rows("a", "b")


def test_a_writer_that_stops_leaves_nothing_behind(writer, sent):
    for number in range(20):
        in_loop(writer.submit(groups.event(str(number))))
    writer.stop(5)
    assert [row for burst in sent for row in burst] == rows(*map(str, range(20)))
