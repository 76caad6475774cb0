"""The files of a run tell where each of its payments was at any moment, and say what they cannot tell."""

from decimal import Decimal

import pytest

from control_room.tracking.filter import parse_filter
from control_room.tracking.listing import Query
from control_room.tracking.record.as_of import Details, arithmetic_at, find_at, listing_at, row_at, story_at
from control_room.tracking.record.lives import read_lives
from control_room.tracking.transactions import AmbiguousIdError, UnknownTransactionError
from tests.ui.moments import NOW_S
from tests.ui.records import PAYMENTS, made, tid
from tests.unit.histories import write_chain


@pytest.fixture
def run(tmp_path):
    return made(tmp_path, record=False)


def states(lives, second, text=""):
    listing = listing_at(lives, NOW_S + second, Query(parse_filter(text)))
    return [row.state for row in listing.rows]


def test_each_payment_stands_where_its_last_line_before_the_moment_puts_it(run):
    lives = read_lives(run)
    assert states(lives, 0) == []
    assert states(lives, 0.2) == ["accepted"]
    assert states(lives, 0.6) == ["retrying"]
    assert states(lives, 2.1) == ["accepted", "retrying", "delivered"]
    assert states(lives, 99) == ["delivered"] * PAYMENTS


def test_a_filter_for_the_outbox_or_for_kafka_finds_what_lies_in_one_of_them(run):
    lives = read_lives(run)
    for text in ("state:outbox", "state:in-kafka"):
        assert states(lives, 2.1, text) == ["accepted"]
    assert states(lives, 2.1, "state:open") == ["accepted", "retrying"]
    assert states(lives, 2.1, "state:retrying") == ["retrying"]


def test_the_latency_is_of_what_was_delivered_by_the_moment_whatever_the_filter(run):
    lives = read_lives(run)
    assert listing_at(lives, NOW_S + 0.6, Query()).latencies_s == ()
    told = listing_at(lives, NOW_S + 99, Query(parse_filter("state:retrying")))
    assert told.rows == ()
    assert told.latencies_s == pytest.approx((2.0,) * PAYMENTS, abs=0.02)


def test_the_sum_says_what_the_files_do_not_tell(run):
    total = arithmetic_at(listing_at(read_lives(run), NOW_S + 2.1, Query()))
    assert (total.accepted, total.delivered, total.retrying, total.unaccounted) == (3, 1, 1, 1)
    assert total.stale == ("1 in the outbox or in Kafka, the files do not tell",)
    assert arithmetic_at(listing_at(read_lives(run), NOW_S + 99, Query())).stale == ()


def test_what_the_source_says_is_shown_where_it_is_still_there(run):
    life = read_lives(run).by_id[tid(0)]
    details = {2: Details(Decimal("12.50"), "SUCCESS", "Anna", "Ravi")}
    assert row_at(life, NOW_S + 1, details.get).amount_inr == Decimal("12.50")
    assert row_at(life, NOW_S + 1).amount_inr.is_nan()


def test_a_torn_file_is_told_as_far_as_it_goes_with_a_note(run):
    path = run / "operations.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    lives = read_lives(run)
    assert 0 < len(lives.by_id) <= PAYMENTS
    assert any(note.startswith("operations.jsonl is readable only in part") for note in lives.notes)


def test_one_is_found_by_the_beginning_of_its_id_once_it_was_accepted(run):
    lives = read_lives(run)
    assert find_at(lives, "00000003", NOW_S + 9).transaction_id == tid(3)
    with pytest.raises(UnknownTransactionError, match="at this moment"):
        find_at(lives, "00000003", NOW_S + 2)
    with pytest.raises(AmbiguousIdError, match="fits several"):
        find_at(lives, "0000000", NOW_S + 9)
    with pytest.raises(ValueError, match="at least the first 4"):
        find_at(lives, "000", NOW_S + 9)


def test_the_story_has_nothing_of_later_and_the_faults_that_fell_into_it(run):
    lives = read_lives(run)
    kinds = [event.kind for event in story_at(lives, run, tid(7), NOW_S + 8.1).events]
    assert kinds == ["sent", "answered", "accepted", "attempt", "ledger", "fault"]
    with pytest.raises(UnknownTransactionError):
        story_at(lives, run, tid(7), NOW_S + 6)


def test_a_redelivery_is_told_as_far_as_it_had_come_by_the_moment(run):
    asked = {"k": "redelivery", "number": 5, "id": tid(0), "at": NOW_S + 10, "reason": "lost there", "by": "publisher"}
    way = {"before": "delivered", "published": NOW_S + 12, "partition": 1, "offset": 9, "ended": NOW_S + 14}
    write_chain(run / "redeliveries.jsonl", [{**asked, **way, "as": "delivered"}])
    lives = read_lives(run)

    def told(second):
        events = story_at(lives, run, tid(0), NOW_S + second).events
        return [(event.kind, event.what) for event in events if "redelivery 5" in event.what]

    begun = [("redelivery", "redelivery 5 asked for: lost there")]
    published = [*begun, ("published", "p1 @9, redelivery 5")]
    assert told(9) == []
    assert told(11) == [*begun, ("waiting", "redelivery 5, for whoever publishes next")]
    assert told(13) == [*published, ("waiting", "redelivery 5: published, not tried yet")]
    assert told(15) == [*published, ("redelivery", "redelivery 5 arrived")]
