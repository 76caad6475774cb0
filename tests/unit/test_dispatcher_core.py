"""What follows from each answer: attempts, re-queues, pauses, probes, the drain. The ports are lists."""

import asyncio
import time

import pytest
import uvloop

from services.dispatcher import retry, wording
from services.dispatcher.deliver import Answer
from services.dispatcher.record import Position, Unreadable
from tests.unit.dispatcher_ports import OK, REFUSED, URL, World, record, until


async def test_a_delivery_is_recorded_with_the_place_that_it_finishes():
    world = World()
    world.take(record(7))
    await until(lambda: world.recorder.finished)
    [(outcome, finished)] = world.recorder.taken
    assert (outcome.state, outcome.status, outcome.attempt, outcome.round) == ("delivered", 200, 1, 1)
    assert finished == Position(0, 7, 1)
    assert (world.intake.held, world.dispatch.status()["in_flight"]) == (0, 0)


async def test_every_attempt_carries_the_same_id_and_bytes_and_says_where_it_comes_from(caplog):
    caplog.set_level("INFO")
    world = World()
    world.merchant.answer = lambda _: OK if len(world.merchant.attempts) == 3 else REFUSED
    world.take(record(5))
    await until(lambda: world.recorder.finished)
    sent = world.merchant.attempts
    assert {body for _, body in sent} == {b'{"n": 5}'}
    assert len({(headers["webhook-id"], headers["X-HMAC-Signature"]) for headers, _ in sent}) == 1
    assert [headers["X-Bruce-Attempt"] for headers, _ in sent] == ["1.1", "1.2", "1.3"]
    assert {headers["X-Bruce-Record"] for headers, _ in sent} == {"0@5"}
    assert world.recorder.states(5) == ["retrying", "retrying", "delivered"]
    tid = record(5).transaction_id
    assert f"Retrying webhook delivery tid={tid} attempt=2/3 after 0.0s backoff (exponential)" in caplog.messages


async def test_a_waiting_transaction_keeps_nobody_else_waiting():
    world = World(backoff_s=60.0)
    world.merchant.answer = lambda number: REFUSED if number == 0 else OK
    world.take(*(record(number) for number in range(50)))
    await until(lambda: len(world.recorder.finished) == 49)
    assert world.dispatch.status()["retrying"] == 1


def test_an_alarm_that_is_due_before_it_can_be_set_is_no_fault_of_the_dispatcher():
    """A busy loop needs longer than the shortest wait; on uvloop, which runs it, that gave a timer of another kind."""

    async def busy():
        world = World()
        late_s = asyncio.get_running_loop().time() - 1.0
        world.dispatch._schedule.push(late_s, record(1))
        world.dispatch._set_alarm(late_s)
        world.dispatch._set_alarm(late_s)
        await until(lambda: world.recorder.finished == [1])

    uvloop.run(busy())


async def test_an_exhausted_record_is_complete_only_when_kafka_has_confirmed_its_requeue():
    world = World()
    world.merchant.answer = REFUSED
    world.take(record(3))
    await until(lambda: world.letters)
    await asyncio.sleep(0.05)
    assert world.recorder.finished == []
    assert world.dispatch.status()["requeuing"] == 1
    [letter] = world.letters
    assert (letter.topic, letter.value, letter.spread) == ("payments", b'{"n": 3}', True)
    headers = dict(letter.headers)
    assert headers["round"] == b"2"
    assert int(headers["not-before"]) > time.time() * 1000
    await world.confirm(letter)
    assert world.recorder.finished == [3]
    assert world.recorder.states(3) == ["retrying"] * 3 + ["requeued"]
    assert world.intake.held == 0


async def test_a_record_that_is_not_due_yet_is_parked():
    world = World()
    world.take(record(1, not_before_ms=int(time.time() * 1000) + 60_000), record(2))
    await until(lambda: world.recorder.finished == [2])
    assert world.dispatch.status()["parked"] == 1


async def test_a_due_time_that_a_wrong_clock_made_waits_no_longer_than_any_round_does(monkeypatch):
    monkeypatch.setattr(retry, "MAX_ROUND_WAIT_S", 0.05)
    world = World(retry_after_cap_s=0.01)
    world.take(record(1, not_before_ms=int(time.time() * 1000) + 3_600_000))
    await until(lambda: world.recorder.finished == [1])


async def test_a_failed_record_of_a_revoked_assignment_is_left_to_its_new_owner():
    world = World(max_attempts=1)
    world.merchant.answer = REFUSED
    world.merchant.hold()
    world.take(record(1), record(2, not_before_ms=int(time.time() * 1000) + 60_000))
    await until(lambda: world.merchant.open)
    world.dispatch.assigned(frozenset({2}), (1,))
    world.merchant.release()
    await until(lambda: world.recorder.taken)
    assert (world.letters, world.recorder.finished, world.intake.held) == ([], [], 0)


async def test_a_revocation_is_over_when_its_requests_have_ended_and_their_outcomes_are_recorded():
    world, over = World(max_in_flight=2), []
    world.merchant.hold()
    world.take(record(1), record(2), record(3), record(4, epoch=1))
    await until(lambda: world.merchant.open == 2)
    world.dispatch.revoking(frozenset({2}), (1,), lambda: over.append(True))
    world.merchant.release()
    await until(lambda: world.recorder.added == 2)
    world.dispatch.pump()
    assert (world.recorder.finished, over) == ([1, 2], []), "the outcomes are not in Postgres yet"
    world.recorder.add(None)
    world.recorder.recorded = 2
    world.dispatch.pump()
    assert over == [True], "outcomes of later are not waited for"
    world.dispatch.pump()
    assert (over, world.merchant.numbers(), world.intake.held) == ([True], [1, 2], 0)


async def test_a_revocation_waits_for_the_report_of_a_requeue_and_for_nobody_elses_requests():
    world, over = World(max_attempts=1), []
    world.dispatch.assigned(frozenset({1, 2}), (0, 1))
    world.merchant.answer = REFUSED
    world.take(record(1))
    await until(lambda: world.letters)
    world.merchant.answer = OK
    world.recorder.recorded = 10
    world.merchant.hold()
    world.gate.succeeded(record(9), "somebody", 0.0, asyncio.get_running_loop().time())
    world.take(record(5, epoch=2))
    await until(lambda: world.merchant.open)
    world.dispatch.revoking(frozenset({2}), (1,), lambda: over.append(True))
    assert not over
    await world.confirm(world.letters[0])
    assert (over, world.merchant.open) == ([True], 1)
    world.merchant.release()
    await until(lambda: world.recorder.finished == [1, 5])


async def test_a_record_that_comes_after_its_assignment_is_gone_is_not_delivered():
    world = World()
    world.take(record(1, epoch=99))
    await asyncio.sleep(0.02)
    assert (world.merchant.attempts, world.intake.held) == ([], 0)


async def test_a_dead_merchant_pauses_everything_and_sees_one_probe_per_interval(caplog):
    caplog.set_level("INFO")
    world = World(probe_interval_s=0.2, max_attempts=1)
    world.merchant.answer = REFUSED
    world.take(*(record(number) for number in range(20)))
    await until(lambda: len(world.letters) == 20)
    assert world.dispatch.status()["paused"]
    assert not world.intake.open
    world.take(*(record(number) for number in range(20, 30)))
    attempts, began_s = len(world.merchant.attempts), time.monotonic()
    await until(lambda: len(world.merchant.attempts) == attempts + 3)
    assert time.monotonic() - began_s > 0.35
    world.merchant.answer = OK
    await until(lambda: 29 in world.recorder.finished)
    for letter in world.letters:
        await world.confirm(letter)
    assert sorted(world.recorder.finished) == list(range(30))
    assert not world.dispatch.status()["paused"]
    said = [entry.getMessage() for entry in caplog.records if entry.name == wording.log.name]
    paused = [line for line in said if line.startswith("Consumer paused")]
    assert len(paused) == 1
    assert paused[0].startswith("Consumer paused (3 partitions). Waiting 1 minute before resuming. tid=00000000-")
    assert sum(line.startswith("Consumer resumed after ") for line in said) == 1
    assert sum("FAILED PERMANENTLY" in line for line in said) >= 20
    assert any(line == f"✓ WEBHOOK DELIVERED SUCCESSFULLY tid={record(29).transaction_id} url={URL} status=200"
               for line in said)  # fmt: skip


async def test_where_nothing_waits_the_probe_is_one_record_from_kafka():
    world = World(max_attempts=1)
    world.merchant.answer = REFUSED
    world.take(record(1))
    await until(lambda: world.letters)
    await world.confirm(world.letters[0])
    await until(lambda: world.intake.probe_wanted)
    assert world.intake.room() == 1
    world.merchant.answer = OK
    world.take(record(2))
    assert not world.intake.probe_wanted
    await until(lambda: world.recorder.finished == [1, 2])
    assert world.intake.open


async def test_a_success_that_was_under_way_ends_the_pause_at_once():
    world = World(max_attempts=1, probe_interval_s=0)
    world.merchant.answer = lambda number: REFUSED if number == 1 else OK
    slow = asyncio.Event()
    post = world.merchant.post

    async def post_slowly(headers, body):
        if body == b'{"n": 2}':
            await slow.wait()
        return await post(headers, body)

    world.merchant.post = post_slowly
    world.take(record(2), record(1))
    await until(lambda: world.dispatch.status()["paused"])
    slow.set()
    await until(lambda: not world.dispatch.status()["paused"])


async def test_with_probe_interval_0_nothing_is_tried_before_the_pause_is_over():
    world = World(max_attempts=1, probe_interval_s=0, pause_s=0.3)
    world.merchant.answer = REFUSED
    world.take(record(1))
    await until(lambda: world.letters)
    world.merchant.answer = OK
    world.take(record(2))
    began_s = time.monotonic()
    await until(lambda: 2 in world.recorder.finished)
    assert time.monotonic() - began_s > 0.25


async def test_what_a_ramp_holds_back_goes_on_by_the_clock_even_where_no_answer_comes():
    """No answer means nothing else that looks again: the dispatch must set its own alarm."""
    world = World(max_attempts=1, ramp_s=0.4, max_in_flight=20)
    world.merchant.answer = REFUSED
    world.take(record(1))
    await until(lambda: world.dispatch.status()["paused"])
    world.merchant.answer = OK
    world.take(*(record(number) for number in range(2, 100)))
    await until(lambda: world.dispatch.status()["phase"] == "ramp")
    await until(lambda: sorted(world.recorder.finished) == list(range(2, 100)))


async def test_a_merchant_that_asks_for_silence_gets_it():
    world = World(probe_interval_s=0.02)
    world.merchant.answer = Answer(429, None, 0.3)
    world.take(record(1))
    await until(lambda: world.merchant.attempts)
    began_s = time.monotonic()
    await until(lambda: len(world.merchant.attempts) == 2)
    assert time.monotonic() - began_s > 0.25


async def test_never_more_requests_are_open_than_allowed():
    world = World(max_in_flight=5)
    world.merchant.hold()
    world.take(*(record(number) for number in range(40)))
    await until(lambda: world.merchant.open == 5)
    world.merchant.release()
    await until(lambda: len(world.recorder.finished) == 40)
    assert world.merchant.most_open == 5


async def test_too_many_unrecorded_outcomes_stop_deliveries_and_room_lets_them_go_on():
    world = World(max_unrecorded=10)
    world.recorder.backlog = 10
    world.take(record(1))
    await asyncio.sleep(0.05)
    assert world.merchant.attempts == []
    assert world.intake.room() == 0
    world.recorder.backlog = 9
    world.dispatch.pump()
    await until(lambda: world.recorder.finished == [1])
    assert world.intake.open


async def test_an_unreadable_record_is_complete_only_when_its_dead_letter_is_confirmed():
    world = World()
    world.take(Unreadable(Position(0, 4, 1), "why", record(4).transaction_id, b"key", b"value", [("a", b"b")]),
               Unreadable(Position(0, 5, 1), "why", None, None, None, []))  # fmt: skip
    assert world.recorder.finished == []
    first, second = world.letters
    assert (first.topic, first.key, first.value) == ("payments.dead", b"key", b"value")
    assert ("reason", b"why") in first.headers
    for letter in (second, first):
        await world.confirm(letter)
    assert world.recorder.finished == [5, 4]
    assert world.recorder.states(4) == ["dead"]
    assert world.intake.held == 0
    assert world.intake.room() > 0


async def test_the_drain_finishes_what_is_in_flight_and_starts_nothing():
    world = World()
    world.merchant.hold()
    world.take(record(1))
    await until(lambda: world.merchant.open)
    draining = asyncio.create_task(world.dispatch.drain(asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0)
    world.take(record(2))
    await asyncio.sleep(0.02)
    assert not draining.done()
    world.merchant.release()
    assert await draining
    assert world.merchant.numbers() == [1]
    assert world.recorder.finished == [1]


async def test_the_drain_waits_for_the_report_of_a_requeue():
    world = World(max_attempts=1)
    world.merchant.answer = REFUSED
    world.take(record(1))
    await until(lambda: world.letters)
    draining = asyncio.create_task(world.dispatch.drain(asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0.02)
    assert not draining.done()
    await world.confirm(world.letters[0])
    assert await draining
    assert world.recorder.finished == [1]


async def test_the_drain_waits_no_longer_than_it_may():
    world = World()
    world.merchant.hold()
    world.take(record(1))
    await until(lambda: world.merchant.open)
    assert not await world.dispatch.drain(asyncio.get_running_loop().time() + 0.05)
    world.merchant.release()


async def test_a_drain_with_nothing_under_way_is_over_at_once():
    assert await World().dispatch.drain(asyncio.get_running_loop().time() + 5)


async def test_a_fault_of_our_own_ends_the_process_instead_of_forgetting_a_record():
    world = World()
    world.merchant.answer = lambda _: 1 / 0
    world.take(record(1))
    await until(lambda: world.fatal)
    assert "ZeroDivisionError" in world.fatal[0]


@pytest.mark.parametrize("status", [199, 301, 302, 400, 404, 410, 429, 500])
async def test_only_a_2xx_is_a_delivery(status):
    world = World(max_attempts=1)
    world.merchant.answer = Answer(status)
    world.take(record(1))
    await until(lambda: world.letters)
    assert world.recorder.states(1) == ["retrying"]


def test_a_process_that_stands_still_for_a_moment_goes_on_afterwards():
    """On a busy machine an alarm's time has passed when it is set: uvloop then gives another kind of handle."""

    async def stall():
        world = World(backoff_s=0.02, max_attempts=10)
        answers = iter([REFUSED] * 5)
        world.merchant.answer = lambda _: next(answers, OK)
        tick = world.gate.tick

        def slow_tick(now_s):
            time.sleep(0.03)
            return tick(now_s)

        world.gate.tick = slow_tick
        world.take(*(record(number) for number in range(5)))
        await until(lambda: len(world.recorder.finished) == 5 or world.fatal)
        assert world.fatal == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(stall())


async def test_a_process_that_stood_still_longer_than_its_session_begins_nothing_before_it_has_heard_its_group(
    monkeypatch,
):
    monkeypatch.setattr("services.dispatcher.presence.SETTLE_S", 0.3)
    world = World(max_in_flight=1, session_s=0.2)
    world.merchant.hold()
    world.take(record(1), record(2), record(3))
    await until(lambda: world.merchant.attempts)
    time.sleep(0.5)  # the loop stands still, as in a frozen process
    world.merchant.release()
    await until(lambda: world.recorder.finished)
    world.dispatch.assigned(frozenset({2}), ())
    await asyncio.sleep(0.5)
    assert world.merchant.numbers() == [1], "what is somebody else's by then was not begun"


async def test_work_goes_on_where_the_group_still_counts_the_process_after_it_stood_still(monkeypatch):
    monkeypatch.setattr("services.dispatcher.presence.SETTLE_S", 0.1)
    world = World(max_in_flight=1, session_s=0.2)
    world.merchant.hold()
    world.take(*(record(number) for number in range(1, 6)))
    await until(lambda: world.merchant.attempts)
    time.sleep(0.5)  # as above: a loop that nothing runs in is what is tested
    world.merchant.release()
    await until(lambda: len(world.merchant.attempts) == 5)
