"""Retries never synchronise: what failed at the same instant comes back spread over the whole jitter window."""

import math
import random
from itertools import pairwise

import pytest

from services.common.kafka import NOT_BEFORE_HEADER
from services.dispatcher.deliver import Answer
from services.dispatcher.gate import Gate, Paused
from services.dispatcher.retry import JITTER, MAX_ROUND_WAIT_S
from tests.unit.dispatcher_ports import REFUSED, World, record, until

SEEDS = [1, 2, 3, 4, 5]
MANY = 1000
BACKOFF_S = 60.0
"""So long that no second attempt begins while the test looks at the first ones."""


class Ticket:
    ramp = 0


def assert_uniform(values, low, high):
    """Kolmogorov-Smirnov: the greatest distance from a uniform spread over low..high, at a level of 0.001."""
    ordered = sorted(values)
    count = len(ordered)
    assert low <= ordered[0], f"{ordered[0]} is before the window from {low}"
    assert ordered[-1] <= high, f"{ordered[-1]} is after the window to {high}"
    shares = [(value - low) / (high - low) for value in ordered]
    distance = max(max((at + 1) / count - share, share - at / count) for at, share in enumerate(shares))
    assert distance < 1.95 / math.sqrt(count), f"not spread: distance {distance:.3f}"


def test_the_measure_would_see_a_herd_a_half_used_window_and_two_lumps():
    uniform = [(number + 0.5) / MANY for number in range(MANY)]
    assert_uniform(uniform, 0, 1)
    for wrong in ([0.5] * MANY, [value / 2 for value in uniform], [0.2, 0.8] * (MANY // 2)):
        with pytest.raises(AssertionError, match="not spread"):
            assert_uniform(wrong, 0, 1)


async def fail_together(answer, **retries):
    """MANY records, all in flight, all answered at once."""
    world = World(max_in_flight=MANY, backoff_s=BACKOFF_S, pause_s=600.0, probe_interval_s=0, **retries)
    world.merchant.answer = answer
    world.merchant.hold()
    world.take(*(record(number) for number in range(MANY)))
    await until(lambda: world.merchant.open == MANY)
    world.merchant.release()
    await until(lambda: len(world.recorder.taken) >= MANY)
    return world


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_thousand_that_failed_at_the_same_instant_are_due_all_over_the_window(seed):
    random.seed(seed)
    world = await fail_together(REFUSED)
    outcomes = [outcome for outcome, _ in world.recorder.taken]
    waits = [outcome.next_due_s - outcome.at_s for outcome in outcomes]
    assert_uniform(waits, BACKOFF_S * (1 - JITTER) - 0.05, BACKOFF_S * (1 + JITTER) + 0.05)
    schedule, due = world.dispatch._schedule, []
    while len(schedule):
        due.append(schedule.next_due_s)
        schedule.pop()
    assert len(due) == MANY
    tenth_s = 2 * JITTER * BACKOFF_S / 10
    tenths = [sum(at <= one - min(due) < at + tenth_s for one in due) for at in (n * tenth_s for n in range(10))]
    assert max(tenths) < 2 * MANY / 10, f"what the schedule goes by is spread alike: {tenths}"


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_a_merchant_sent_away_with_the_same_retry_after_comes_later_and_spread(seed):
    random.seed(seed)
    world = await fail_together(Answer(429, None, 300.0), retry_after_cap_s=300.0)
    waits = [outcome.next_due_s - outcome.at_s for outcome, _ in world.recorder.taken]
    assert_uniform(waits, 300.0 - 0.05, 300.0 * (1 + JITTER) + 0.05)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_thousand_requeued_at_the_same_instant_may_come_back_all_over_the_window(seed):
    random.seed(seed)
    world = await fail_together(REFUSED, max_attempts=1)
    await until(lambda: len(world.letters) == MANY)
    failed_at_s = {outcome.transaction_id: outcome.at_s for outcome, _ in world.recorder.taken}
    waits = [
        int(dict(letter.headers)[NOT_BEFORE_HEADER]) / 1000 - failed_at_s[letter.key.decode()]
        for letter in world.letters
    ]
    assert_uniform(waits, MAX_ROUND_WAIT_S * (1 - JITTER) - 0.05, MAX_ROUND_WAIT_S * (1 + JITTER) + 0.05)


def gates(seed):
    """As many dispatchers, each with its own chance, that all notice the same dead merchant at 100.0."""
    made = []
    for number in range(MANY):
        chance = random.Random(seed * MANY + number).random
        one = Gate(
            pause_s=300.0, probe_interval_s=5.0, evidence_s=2.0, full=1000, ramp_s=2.0, quick_s=0.25, chance=chance
        )
        assert one.exhausted(Ticket(), "culprit", 100.0) == Paused(None)
        made.append(one)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_dispatchers_that_pause_at_the_same_instant_do_not_probe_in_step(seed):
    firsts = [one.wake_s for one in gates(seed)]
    assert_uniform([first - 100.0 for first in firsts], 0, 5.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_probes_of_one_dispatcher_are_never_closer_than_their_interval(seed):
    for one in gates(seed)[:20]:
        moments = []
        while len(moments) < 20:
            moments.append(one.wake_s)
            one.probe_sent(moments[-1])
        gaps = [later - sooner for sooner, later in pairwise(moments)]
        assert min(gaps) >= 5.0 - 1e-9
        assert max(gaps) <= 5.0 * (1 + JITTER)
        assert len({round(gap, 6) for gap in gaps}) > 10, "their distance varies, so that two never lock in"


@pytest.mark.parametrize("seed", SEEDS)
def test_pauses_that_began_at_the_same_instant_do_not_end_in_step_and_none_early(seed):
    ends = [one.paused_until_s - 400.0 for one in gates(seed)]
    assert_uniform(ends, 0, 300.0 * JITTER)
