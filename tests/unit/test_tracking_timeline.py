"""A timeline tells the story in order, and finds its ledger lines without reading the whole ledger."""

from datetime import UTC
from decimal import Decimal

import pytest

from control_room.tracking.ledger_search import find_in_ledger, first_line_at, merged
from control_room.tracking.timeline import Attempt, Timeline, pipeline_events, timeline
from control_room.tracking.timeline_text import render
from control_room.tracking.transactions import TransactionRow
from tests.unit.member_processes import MerchantDouble, ProcessRuntime

ID = "099ee548-0000-4000-8000-000000000001"
T = 1_700_000_000.123


def row(**changes):
    fields = {
        "transaction_id": ID, "amount_inr": Decimal("8404.55"), "status": "SUCCESS", "sender_name": "A",
        "receiver_name": "B", "accepted_at_s": T, "accepted_by": "ingestion-api-2", "state": "delivered",
        "published_at_s": T + 0.008, "published_by": "ingestion-api-2", "partition": 1, "offset": 4411,
        "republished": 0,
        "round": 2, "attempt": 1, "attempts_total": 2, "last_status": 200, "last_error": None, "next_due_at_s": None,
        "delivered_at_s": T + 9.0, "age_s": 10.0,
    }  # fmt: skip
    return TransactionRow(**{**fields, **changes})


def attempt(at, round_number, number, ms=41.0, status=500, error=None, due=None, offset=4411):
    return Attempt(T + at, round_number, number, ms, status, error, "dispatcher", 1, offset, due and T + due)


def story(events):
    return Timeline(ID, row(), tuple(sorted(events, key=lambda event: event.at_s)), ())


def test_the_story_of_a_requeued_delivery_in_order():
    attempts = [attempt(0.031, 1, 3, due=2.0), attempt(8.9, 2, 1, ms=100.0, status=200, offset=4420)]
    lines = render(story(pipeline_events(row(), attempts)), UTC)
    words = [line.split(maxsplit=1)[1] for line in lines if line[2:3] == ":"]
    assert words[0].startswith("accepted     ingestion-api-2  ₹8,404.55 SUCCESS")
    assert words[1].startswith("published    ingestion-api-2  p1 @4411")
    assert words[2].startswith("attempt 1.3  dispatcher       500 in 41 ms, wait 1.9 s")
    assert words[3].startswith("requeued     dispatcher       after 3 attempts, as round 2, p1 @4420")
    assert words[4].startswith("attempt 2.1  dispatcher       200 in 100 ms")
    assert words[5].startswith("delivered    dispatcher       round 2, 2 attempts in all")
    assert lines[1] == "2023-11-14 UTC"
    assert lines[2].startswith("22:13:20.123 accepted")


@pytest.mark.parametrize(
    ("changes", "claim", "words"),
    [
        ({"state": "outbox", "published_at_s": None}, (None, None), "in the outbox, for whoever publishes next"),
        ({"state": "outbox", "published_at_s": None}, ("outbox-publisher", T + 60), "held by outbox-publisher"),
        ({"state": "in-kafka"}, (None, None), "p1 @4411: published, not tried yet"),
        ({"state": "dead", "last_error": "unreadable"}, (None, None), "dead-lettered: unreadable"),
        ({"republished": 1}, (None, None), "p1 @4411, published 1 time more"),
    ],
)
def test_where_it_waits_or_ended_is_told(changes, claim, words):
    given = row(delivered_at_s=None, **changes)
    assert any(words in event.what for event in pipeline_events(given, [], claim))


def test_a_mark_that_came_after_the_first_attempt_is_told_as_such():
    events = pipeline_events(row(published_at_s=T + 1), [attempt(0.5, 1, 1)])
    assert "p1 @4411, noted after the first attempt" in [event.what for event in events]


def test_what_a_server_said_cannot_steer_the_terminal():
    lines = render(story(pipeline_events(row(), [attempt(1, 1, 1, status=None, error="\x1b[2Jowned\n")])), UTC)
    assert not any("\x1b" in line or "\n" in line for line in lines)


def request(n, at, transaction_id="other", status=200):
    return {"n": n, "k": "req", "id": transaction_id, "at": at, "hmac": "ok", "wh": "ok", "status": status, "c": "0"}


@pytest.fixture
def merchant():
    ledger = [request(n, T + n * 0.01) for n in range(30_000)]
    ledger[12_345] = request(12_345, T + 123.45, ID, status=-1)
    ledger[12_400] = request(12_400, T + 124.0, ID)
    ledger[29_000] = request(29_000, T + 290.0, ID)
    made = MerchantDouble(ledger=ledger)
    yield made
    made.close()


@pytest.mark.parametrize("number", [0, 1, 1023, 1024, 1025, 12_345, 29_999])
def test_the_line_at_a_moment_is_found_by_bisection(merchant, number):
    assert first_line_at(merchant.url, T + number * 0.01 - 0.001) == number
    assert merchant.questions < 40


def test_a_moment_after_the_last_line_is_the_end(merchant):
    assert first_line_at(merchant.url, T + 10_000) == 30_000
    assert find_in_ledger(merchant.url, ID, [(T + 9_000, T + 10_000)]).lines == ()


def test_an_empty_ledger_has_no_lines():
    empty = MerchantDouble()
    assert find_in_ledger(empty.url, ID, [(0.0, T)]).lines == ()
    empty.close()


def test_only_the_windows_are_read(merchant):
    finding = find_in_ledger(merchant.url, ID, [(T + 123, T + 125), (T + 124, T + 126)])
    assert [line["n"] for line in finding.lines] == [12_345, 12_400]
    assert finding.complete


def test_windows_that_touch_are_one():
    assert merged([(10, 12), (13, 14), (20, 21)]) == [(9, 15), (19, 22)]


def test_without_postgres_the_merchant_still_tells_and_the_note_says_what_is_missing(monkeypatch, merchant):
    monkeypatch.setattr("control_room.tracking.timeline.time.time", lambda: T + 300)
    endpoints = ProcessRuntime([], merchant_url=merchant.url).endpoints()
    told = timeline(endpoints, ID)
    assert [event.kind for event in told.events] == ["ledger"] * 3
    assert "held back until the caller gave up" in told.events[0].what
    assert told.notes[0].startswith("Postgres tells nothing")
    assert told.to_json()["transaction"] is None


def test_without_postgres_and_merchant_there_are_two_reasons_and_no_traceback():
    told = timeline(ProcessRuntime([]).endpoints(), ID)
    assert told.events == ()
    assert len(told.notes) == 3
