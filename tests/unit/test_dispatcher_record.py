import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.record import (
    MAX_DEAD_HEADERS_BYTES,
    MAX_NOT_BEFORE_MS,
    MAX_VALUE_BYTES,
    Position,
    Record,
    Unreadable,
    dead_letter,
    read_record,
    requeue_headers,
)

ID = "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f"
BODY = json.dumps({"Transaction ID": ID, "Status": "SUCCESS"}, sort_keys=True).encode()
KEY = ID.encode()
PLACE = Position(1, 42, 7)
NOW_MS = 1_800_000_000_000
PRODUCER_LIMIT_BYTES = 1_000_000


def read(key=KEY, value=BODY, headers=(), timestamp_ms=NOW_MS - 5000):
    return read_record(PLACE, key, value, list(headers), timestamp_ms, NOW_MS)


def test_a_record_is_read_with_its_bytes_unchanged():
    record = read()
    assert isinstance(record, Record)
    assert (record.transaction_id, record.body, record.position) == (ID, BODY, PLACE)
    assert (record.round, record.attempt, record.not_before_ms, record.first_seen_ms) == (1, 0, 0, NOW_MS - 5000)


def test_a_record_without_a_timestamp_was_first_seen_now():
    assert read(timestamp_ms=-1).first_seen_ms == NOW_MS


def test_an_id_in_capitals_is_the_same_id():
    capitals = json.dumps({"Transaction ID": ID.upper()}).encode()
    assert read(key=ID.upper().encode(), value=capitals).transaction_id == ID
    assert read(value=capitals).transaction_id == ID


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, BODY, "the key is not a transaction id"),
        (b"no uuid", BODY, "the key is not a transaction id"),
        (KEY + b"\n", BODY, "the key is not a transaction id"),
        (KEY, None, "the record has no value"),
        (KEY, b"", "the record has no value"),
        (KEY, b"{", "the value is not a JSON object"),
        (KEY, b"[" * 100_000, "the value is not a JSON object"),
        (KEY, b"[1]", "the value is not a JSON object"),
        (KEY, b'{"Transaction ID": 1}', "the transaction id in the value is not the key"),
        (KEY, BODY.replace(b"4d3d", b"aaaa"), "the transaction id in the value is not the key"),
        (KEY, b" " * (MAX_VALUE_BYTES + 1), f"the value is larger than {MAX_VALUE_BYTES} bytes"),
    ],
)
def test_what_can_never_be_delivered_is_unreadable_with_its_reason(key, value, reason):
    found = read(key, value)
    assert isinstance(found, Unreadable)
    assert found.reason == reason
    assert (found.key, found.value, found.position) == (key, value, PLACE)
    assert found.transaction_id == (ID if key == KEY else None)


@given(st.one_of(st.none(), st.binary(max_size=50)), st.one_of(st.none(), st.binary(max_size=200)))
def test_no_bytes_at_all_break_the_reading(key, value):
    assert isinstance(read(key, value), Unreadable)


def test_a_json_that_only_python_takes_is_still_delivered():
    assert isinstance(read(value=BODY.replace(b'"SUCCESS"', b"NaN")), Record)


def test_a_requeued_record_says_its_next_round_its_first_sight_and_its_due_time():
    again = read(headers=requeue_headers(read(), NOW_MS + 8000), timestamp_ms=NOW_MS)
    assert (again.round, again.first_seen_ms, again.not_before_ms) == (2, NOW_MS - 5000, NOW_MS + 8000)
    third = read(headers=requeue_headers(again, NOW_MS + 9000), timestamp_ms=NOW_MS)
    assert (third.round, third.first_seen_ms) == (3, NOW_MS - 5000)


@pytest.mark.parametrize("text", [None, b"", b"-1", b"1e3", b"x", b"9" * 16, "١".encode()])
def test_headers_that_cannot_be_read_count_as_absent(text):
    record = read(headers=[("round", text), ("first-seen", text), ("not-before", text), ("other", text)])
    assert (record.round, record.first_seen_ms, record.not_before_ms) == (1, NOW_MS - 5000, 0)


def test_a_due_time_from_a_wrong_clock_parks_a_record_for_ten_minutes_at_most():
    assert read(headers=[("not-before", b"999999999999999")]).not_before_ms == NOW_MS + MAX_NOT_BEFORE_MS


def test_a_dead_letter_is_what_came_with_reason_and_source():
    headers = [("round", b"2"), ("theirs", None)]
    key, value, said = dead_letter(Unreadable(PLACE, "why", None, b"k", b"v", headers), "payments")
    assert (key, value) == (b"k", b"v")
    assert said == [*headers, ("reason", b"why"), ("source", b"payments:1@42")]


@pytest.mark.parametrize("big", ["key", "value", "headers"])
def test_a_dead_letter_is_never_larger_than_a_producer_may_send(big):
    """Or it would be tried for ever, and its partition would stand still."""
    content = {"key": b"k", "value": b"v", "headers": [("a", b"b")]}
    content[big] = [("a", bytes(600_000)), ("b", bytes(600_000))] if big == "headers" else bytes(1_040_000)
    dead = Unreadable(PLACE, "why", None, **content)
    key, value, headers = dead_letter(dead, "payments")
    size = len(key) + len(value) + sum(len(name) + len(text) for name, text in headers)
    assert size < min(PRODUCER_LIMIT_BYTES, MAX_VALUE_BYTES + MAX_DEAD_HEADERS_BYTES + 2048)
    cut = dict(headers)["cut"].decode()
    assert str({"key": 1_040_000, "value": 1_040_000, "headers": 1_200_002}[big]) in cut
    assert dict(headers)["reason"] == b"why"


def test_sizes_count_what_is_held():
    assert read().size_bytes == len(BODY)
    assert Unreadable(PLACE, "why", None, None, None, []).size_bytes == 0
    assert Unreadable(PLACE, "why", None, b"123", b"45", [("ab", b"c"), ("d", None)]).size_bytes == 9


def test_a_redeliverys_number_survives_requeues_and_tells_its_attempts_apart():
    first = read(headers=[("redelivery", b"12")])
    again = read(headers=requeue_headers(first, NOW_MS), timestamp_ms=NOW_MS)
    assert (first.redelivery, again.redelivery, again.round) == (12, 12, 2)
    assert read().redelivery is None
    assert "redelivery" not in dict(requeue_headers(read(), NOW_MS))


@pytest.mark.parametrize("text", [b"", b"0", b"-1", b"x", b"9" * 16, None])
def test_a_redeliverys_number_that_is_none_counts_as_absent_and_the_record_is_delivered(text):
    found = read(headers=[("redelivery", text)])
    assert isinstance(found, Record)
    assert found.redelivery is None


def test_an_unreadable_record_tells_which_redelivery_ended_with_it():
    assert read(value=b"{", headers=[("redelivery", b"3")]).redelivery == 3
    assert read(value=b"{").redelivery is None
