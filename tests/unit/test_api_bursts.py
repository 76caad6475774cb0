"""Bursts: the first after a calm moment waits for nothing, and however many come, requests to Kafka are bounded."""

import threading

import pytest

from services.common.event import Event
from services.ingestion_api.bursts import ENOUGH_EVENTS, Bursts
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
    return Bursts(sent.append, interval_s=0.02, clock=clock)


def rows(*names):
    return [Accepted(name, b"", 0) for name in names]


def test_the_first_leaves_at_once_and_what_follows_leaves_together(bursts, clock, sent):
    bursts.add(rows("a"))
    assert bursts.send_due() is None
    assert sent == [rows("a")]
    for name in ("b", "c", "d"):
        clock.now_s += 0.005
        bursts.add(rows(name))
        assert bursts.send_due() == pytest.approx(100.02 - clock.now_s)
    assert sent == [rows("a")]
    clock.now_s = 100.021
    assert bursts.send_due() is None
    assert sent[1:] == [rows("b", "c", "d")]


def test_after_a_calm_moment_nothing_waits(bursts, clock, sent):
    for name in ("a", "b", "c"):
        bursts.add(rows(name))
        bursts.send_due()
        clock.now_s += 0.02
    assert sent == [rows("a"), rows("b"), rows("c")]


def test_with_nothing_held_nobody_needs_to_come_again(bursts, sent):
    assert bursts.send_due() is None
    bursts.send_all()
    assert sent == []


def test_what_is_enough_for_a_request_does_not_wait_for_more(bursts, sent):
    bursts.add(rows("a"))
    bursts.send_due()
    bursts.add(rows(*map(str, range(ENOUGH_EVENTS))))
    assert bursts.send_due() is None
    assert len(sent[1]) == ENOUGH_EVENTS


def test_however_many_groups_come_there_are_few_bursts_and_every_event_is_in_one(bursts, clock, sent):
    for number in range(1000):
        bursts.add(rows(str(number)))
        bursts.send_due()
        clock.now_s += 0.001
    bursts.send_all()
    assert [row for burst in sent for row in burst] == rows(*map(str, range(1000)))
    assert len(sent) <= 1 + 1000 * 0.001 / 0.02 + 1


@pytest.fixture
def writer(monkeypatch, sent):
    def commit(connection, events: list[Event], member):
        accepted = [Accepted(one.transaction_id, b"", 0) for one in events]
        return Settled([Outcome.ACCEPTED] * len(events), accepted)

    monkeypatch.setattr(groups.group_commit, "commit_group", commit)
    held = Bursts(sent.append, interval_s=0.05)
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
        if len(sent) == 2:
            break
        threading.Event().wait(0.01)
    assert sent == [rows("a"), rows("b")]


def test_a_writer_that_stops_leaves_nothing_behind(writer, sent):
    for number in range(20):
        in_loop(writer.submit(groups.event(str(number))))
    writer.stop(5)
    assert [row for burst in sent for row in burst] == rows(*map(str, range(20)))
