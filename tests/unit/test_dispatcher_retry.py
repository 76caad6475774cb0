from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.retry import MAX_ROUND_WAIT_S, MAX_WAIT_S, RetryPolicy, parse_retry_after

POLICY = RetryPolicy(max_attempts=4, backoff_s=2.0, retry_after_cap_s=60.0)
NOW_S = datetime(2026, 1, 31, 10, 0, 0, tzinfo=UTC).timestamp()


def test_waits_are_2_4_and_8_seconds():
    assert [POLICY.wait_s(attempt, None, 0.5) for attempt in (1, 2, 3)] == pytest.approx([2.0, 4.0, 8.0])


@pytest.mark.parametrize(("chance", "first_s"), [(0.0, 1.8), (0.25, 1.9), (0.999999, 2.2)])
def test_a_wait_is_moved_by_ten_per_cent_at_most(chance, first_s):
    assert POLICY.wait_s(1, None, chance) == pytest.approx(first_s, abs=1e-4)


def test_a_round_is_exhausted_after_its_last_attempt():
    assert RetryPolicy(3, 2.0, 60.0).wait_s(3, None, 0.5) is None
    assert RetryPolicy(1, 2.0, 60.0).wait_s(1, 30.0, 0.5) is None


def test_many_attempts_never_wait_for_hours():
    assert RetryPolicy(20, 60.0, 60.0).wait_s(19, None, 0.5) == MAX_WAIT_S


def test_rounds_go_on_where_the_waits_inside_ended_and_stop_at_half_a_minute():
    assert RetryPolicy(3, 2.0, 60.0).round_wait_s(None, 0.5) == 8.0
    assert RetryPolicy(20, 2.0, 60.0).round_wait_s(None, 0.5) == MAX_ROUND_WAIT_S
    assert RetryPolicy(20, 2.0, 60.0).round_wait_s(None, 0.999999) <= MAX_ROUND_WAIT_S * 1.1


def test_retry_after_is_honoured_never_undercut_and_capped():
    assert POLICY.wait_s(1, 30.0, 0.0) == 30.0
    assert 30.0 < POLICY.wait_s(1, 30.0, 0.9) < 33.0
    assert POLICY.wait_s(1, 0.0, 0.5) == 2.0, "a merchant in a hurry does not shorten the backoff"
    assert POLICY.wait_s(1, 86_400.0, 0.0) == 60.0
    assert POLICY.round_wait_s(86_400.0, 0.0) == 60.0


@given(st.integers(1, 20), st.floats(0.1, 600), st.floats(0, 600), st.integers(1, 50), st.floats(0, 0.999))
def test_no_wait_is_longer_than_the_longest(attempts, backoff_s, cap_s, number, chance):
    policy = RetryPolicy(attempts, backoff_s, cap_s)
    waits = [policy.round_wait_s(1e9, chance), policy.wait_s(min(number, attempts), 1e9, chance) or 0.0]
    assert max(waits) <= policy.longest_wait_s * 1.0001


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("9" * 400, MAX_WAIT_S),
     ("Sat, 31 Jan 2026 10:00:30 GMT", 30.0),
     ("Saturday, 31-Jan-26 10:00:30 GMT", 30.0),
     ("Sat Jan 31 10:00:30 2026", 30.0),
     ("Sat, 31 Jan 2026 09:00:00 GMT", 0.0),
     (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("²", None), ("Sat, 99 Foo", None)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_each_form_of_an_http_date(value, expected_s, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert parse_retry_after(value, NOW_S) == expected_s


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[A-Z][a-z]{2},? \d{1,6} [A-Z][a-z]{2} \d{1,9} [\d:+-]{1,20}")))
def test_no_merchant_can_break_us_with_a_retry_after(value):
    found = parse_retry_after(value, NOW_S)
    assert found is None or found >= 0
