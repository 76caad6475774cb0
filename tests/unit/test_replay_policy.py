import math
import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_room.replay.latency import LatencyHistogram
from control_room.replay.retry import RetryPolicy
from control_room.replay.schedule import FileTime, FixedRate


def test_waits_double_up_to_a_limit_within_their_jitter():
    policy, chance = RetryPolicy(first_wait_s=0.2, max_wait_s=5, jitter=0.2, max_total_s=1e9), random.Random(1)
    for tries, middle_s in ((1, 0.2), (2, 0.4), (3, 0.8), (6, 5), (60, 5)):
        waits = [policy.wait_s(tries, 0, chance) for _ in range(200)]
        assert middle_s * 0.8 <= min(waits) < middle_s < max(waits) <= middle_s * 1.2


@given(tries=st.integers(1, 200), elapsed_s=st.floats(0, 200), retry_after_s=st.floats(0, 1e6), seed=st.integers(0, 9))
def test_no_try_begins_after_the_bounds(tries, elapsed_s, retry_after_s, seed):
    policy = RetryPolicy(max_tries=50, max_total_s=60, max_wait_s=5)
    wait_s = policy.wait_s(tries, elapsed_s, random.Random(seed), retry_after_s)
    if wait_s is None:
        assert tries >= 50 or elapsed_s > 60 - 6
    else:
        assert tries < 50
        assert elapsed_s + wait_s <= 60
        assert wait_s <= 6


def test_retry_after_is_honoured_up_to_the_longest_wait():
    policy = RetryPolicy(jitter=0)
    assert policy.wait_s(1, 0, random.Random(1), 3) == 3
    assert policy.wait_s(1, 0, random.Random(1), 3600) == policy.max_wait_s


def test_a_fixed_rate_does_not_drift():
    schedule = FixedRate(3)
    assert [schedule.due_s(None) for _ in range(301)][-1] == pytest.approx(100)


def test_file_time_keeps_the_files_gaps_and_never_goes_back():
    schedule, begin = FileTime(10), datetime(2026, 1, 14, tzinfo=UTC)
    at = [SimpleNamespace(timestamp=begin + timedelta(seconds=s)) for s in (0, 10, 10, 30, 5, 15)]
    assert [schedule.due_s(payment) for payment in at] == [0, 1, 1, 3, 3, 4]


def test_a_speed_that_changes_counts_for_what_is_left_of_the_gap_too():
    now, begin = [100.0], datetime(2026, 1, 14, tzinfo=UTC)
    schedule = FileTime(1, clock=lambda: now[0])
    at = [SimpleNamespace(timestamp=begin + timedelta(seconds=s)) for s in (0, 100, 130)]
    assert [schedule.due_s(payment) for payment in at[:2]] == [0, 100]
    now[0] += 40
    schedule.change(60)
    assert schedule.latest_s == pytest.approx(41)
    assert schedule.due_s(at[2]) == pytest.approx(41.5)
    now[0] += 60
    schedule.change(1)
    assert schedule.latest_s == pytest.approx(41.5)


@given(st.lists(st.floats(1e-5, 1000), min_size=1, max_size=200))
def test_percentiles_are_within_two_percent(latencies):
    histogram = LatencyHistogram()
    for latency in latencies:
        histogram.add(latency)
    latencies.sort()
    for share, found in zip((0.5, 0.95, 0.99, 1.0), histogram.percentiles_s(0.5, 0.95, 0.99, 1.0), strict=True):
        exact = latencies[math.ceil(share * len(latencies)) - 1]
        assert exact * 0.999 <= found <= exact * 1.021
    assert histogram.max_s == latencies[-1]


def test_an_empty_histogram_and_latencies_beyond_its_ends_are_fine():
    histogram = LatencyHistogram()
    assert histogram.percentiles_s(0.5, 0.99) == (0.0, 0.0)
    for latency in (0.0, -1.0, 1e9):
        histogram.add(latency)
    assert histogram.count == 3
