"""What has waited in Kafka goes on at a pace; what has just been accepted does not wait for it."""

import time

import pytest

from services.common.catch_up import CatchUp
from services.dispatcher.source import BATCH, WAITED_BATCH
from tests.unit.dispatcher_ports import Log, wait_until
from tests.unit.test_dispatcher_source import records, worlds


@pytest.fixture
def world():
    yield from worlds()


def at_its_pace(now_s):
    """A pace of one batch a second at least, and how to set its clock."""
    clock = [now_s]
    return CatchUp(8 * BATCH, clock=lambda: clock[0]), clock


def test_what_has_waited_in_kafka_goes_on_at_its_pace(world):
    catch_up, clock = at_its_pace(100.0)
    one = world(Log({0: records(*range(900))}), catch_up=catch_up)
    wait_until(lambda: len(one.sink.taken) >= BATCH)
    rounds = one.source.rounds
    wait_until(lambda: one.source.rounds > rounds + 2)
    assert len(one.sink.taken) == BATCH
    for taken in (600, 700, 800, 900):
        clock[0] += 1.0
        wait_until(lambda taken=taken: len(one.sink.taken) >= taken)
    assert max(one.sink.sizes[1:]) <= WAITED_BATCH


def test_what_has_just_been_accepted_does_not_wait_for_that_pace(world):
    catch_up, _ = at_its_pace(100.0)
    log = Log({0: records(*range(900))})
    log.written_ms = int(time.time() * 1000)
    one = world(log, catch_up=catch_up)
    wait_until(lambda: len(one.sink.taken) == 900)


def test_what_rests_is_committed_meanwhile_and_left_in_order(world):
    catch_up, _ = at_its_pace(100.0)
    log = Log({0: records(*range(900))})
    one = world(log, catch_up=catch_up)
    wait_until(lambda: len(one.sink.taken) == BATCH)
    one.complete(*range(BATCH))
    wait_until(lambda: 0 in log.stored and log.stored[0][0] == BATCH)
    one.source.finish(1.0)
    wait_until(lambda: one.sink.gone)
