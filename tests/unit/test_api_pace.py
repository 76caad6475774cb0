"""Groups leave at round times: few enough however many events come, and none waits longer than it may."""

import asyncio
import time

import pytest

from services.ingestion_api.group_commit import GroupCommit
from services.ingestion_api.pace import SHORTEST_S, Pace
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
def pace(clock):
    return Pace(0.08, clock=clock)


def leave(pace, clock, late_s=0.0, per_s=1000):
    """A group's first event comes, and the group leaves so much after its time; how long the event waited for that.

    `per_s`: events that come.
    """
    due_s = pace.due_s()
    wait_s = due_s - clock.now_s
    clock.now_s = due_s + late_s
    pace.left(due_s, max(1, round((wait_s + late_s) * per_s)))
    clock.now_s += max(0.0001, 1 / per_s)
    return wait_s


def test_a_group_leaves_at_the_next_round_time(pace, clock):
    clock.now_s = 100.0012
    assert pace.due_s() == pytest.approx(100.01)
    clock.now_s = 100.0101
    assert pace.due_s() == pytest.approx(100.02)


def test_replicas_that_share_a_clock_leave_at_the_same_time(clock):
    replicas = [Pace(0.08, clock=clock) for _ in range(3)]
    dues = set()
    for replica, clock.now_s in zip(replicas, (100.0001, 100.0027, 100.0049), strict=True):
        dues.add(round(replica.due_s(), 6))
    assert dues == {100.01}


def test_a_replica_that_is_late_gathers_longer_but_never_longer_than_it_may(pace, clock):
    for _ in range(50):
        leave(pace, clock, late_s=0.004)
    assert pace.step_s == 0.04
    for _ in range(50):
        assert leave(pace, clock, late_s=1.0) <= 0.08
    assert pace.step_s == 0.08


def test_a_replica_that_is_on_time_again_is_quick_again(pace, clock):
    for _ in range(50):
        leave(pace, clock, late_s=0.05)
    for _ in range(50):
        leave(pace, clock)
    assert pace.step_s == SHORTEST_S
    assert leave(pace, clock) <= SHORTEST_S


def test_a_late_replica_to_which_hardly_any_event_comes_waits_no_longer_for_company(pace, clock):
    for _ in range(50):
        leave(pace, clock, late_s=0.004, per_s=100)
    assert pace.step_s == SHORTEST_S
    for _ in range(50):
        leave(pace, clock, late_s=0.004, per_s=400)
    assert pace.step_s == 0.04
    for _ in range(50):
        leave(pace, clock, late_s=0.004, per_s=100)
    assert pace.step_s == SHORTEST_S


def test_a_batch_is_company_enough_to_be_gathered_with_others(pace, clock):
    for _ in range(50):
        due_s = pace.due_s()
        clock.now_s = due_s + 0.004
        pace.left(due_s, 100)
        clock.now_s += 0.05
    assert pace.step_s == 0.04


def test_the_longest_wait_may_be_none_at_all(clock):
    clock.now_s = 100.0012
    assert Pace(0.0, clock=clock).due_s() == clock.now_s


@pytest.fixture
def writer(monkeypatch):
    """A writer that leaves every 50 ms, over a store that accepts everything and remembers its groups."""
    committed, handed = [], []

    def commit(connection, events, member):
        committed.append([one.transaction_id for one in events])
        accepted = [Accepted(one.transaction_id, b"", 0) for one in events]
        return Settled([Outcome.ACCEPTED] * len(events), accepted)

    monkeypatch.setattr(groups.group_commit, "commit_group", commit)
    monkeypatch.setattr("services.ingestion_api.pace.SHORTEST_S", 0.05)
    made = GroupCommit(groups.Link(), "api", deadline_s=5, max_events=100, after_commit=handed.extend, pace=Pace(0.05))
    made.committed, made.handed = committed, handed
    made.start(LOOP)
    yield made
    made.stop(5)


def test_requests_that_come_one_after_the_other_between_two_round_times_are_one_group(writer):
    async def one_after_the_other():
        began_s = time.monotonic()
        waiting = []
        for number in range(40):
            waiting.append(asyncio.create_task(writer.submit(groups.event(str(number)))))
            await asyncio.sleep(0.005)
        await asyncio.gather(*waiting)
        return time.monotonic() - began_s

    took_s = in_loop(one_after_the_other())
    assert len(writer.committed) <= took_s / 0.05 + 1
    assert [one for group in writer.committed for one in group] == [str(number) for number in range(40)]


def test_a_writer_that_stops_leaves_nothing_behind(writer):
    async def all_at_once():
        return [asyncio.create_task(writer.submit(groups.event(str(number)))) for number in range(20)]

    tasks = in_loop(all_at_once())
    in_loop(asyncio.sleep(0))
    writer.stop(5)
    assert [one.transaction_id for one in writer.handed] == [str(number) for number in range(20)]
    assert {task.result() for task in [in_loop(_done(task)) for task in tasks]} == {Outcome.ACCEPTED}


async def _done(task):
    await asyncio.wait([task])
    return task
