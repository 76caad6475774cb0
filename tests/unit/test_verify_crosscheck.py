"""The four stores compared: what is a violation though all arrived, what is a note, and what was not compared."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_room.verify import check, summary, write_manifest
from control_room.verify.coverage import Coverage
from services.common.bitmap import MAX_METADATA_BYTES
from services.dispatcher.tracker import OffsetTracker
from tests.unit.histories import T0, History, tid

A, B = tid(0xA), tid(0xB)
COMMIT_OF_MANY = 5000


@pytest.fixture
def history(tmp_path):
    """All arrived, and Kafka was asked."""
    history = History(tmp_path / "run").accepted_and_delivered(1, 2)
    history.partition()
    return history


def kinds(verdict):
    return {one.kind: (one.count, one.violation) for one in verdict.stores.disagreements}


def test_stores_that_agree_are_said_to_and_the_run_is_proven(history):
    history.crosscheck.insert(0, {"k": "tables", "payments": 2, "outbox": 2})
    history.figures = {"marked": {"rows": 2, "read": 2}}
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.notes, kinds(verdict)) == (0, (), {})
    assert "stores: 2 payments = 2 outbox rows; 2 of 2 published rows found where they say" in summary(verdict)


def test_a_payment_without_its_outbox_row_is_a_violation_although_it_arrived(history):
    history.crosscheck.append({"k": "torn", "id": tid(1), "lacks": "outbox_events"})
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (10, {"torn": (1, True)})
    assert tid(1) in verdict.reasons[0]
    assert verdict.classes["delivered"] == 2


def test_a_torn_payment_that_this_run_did_not_send_is_a_note(history):
    history.crosscheck.append({"k": "torn", "id": A, "lacks": "payments"})
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (0, {"torn-elsewhere": (1, False)})
    assert A in verdict.notes[0]


@pytest.mark.parametrize("found", ["other", "absent", "beyond"])
def test_a_published_row_whose_record_is_not_where_it_says_is_a_violation_although_it_arrived(history, found):
    history.wrong_mark(tid(2), found=found)
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (10, {"false-mark": (1, True)})
    assert tid(2) in verdict.reasons[0]


@pytest.mark.parametrize("topic", ["made anew", None])
def test_a_place_in_a_topic_that_was_made_anew_is_a_note(history, topic):
    history.wrong_mark(tid(2))
    history.figures = {"topic": topic}
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (0, {"old-mark": (1, False)})


def test_a_run_that_does_not_know_its_topic_accuses_nobody(history):
    history.wrong_mark(tid(2))
    history.settings["topic_id"] = None
    assert kinds(check(history.write())) == {"old-mark": (1, False)}


def test_a_row_that_was_published_before_the_run_accuses_nobody(history):
    history.wrong_mark(tid(2), at=T0 - 1)
    assert kinds(check(history.write())) == {"old-mark": (1, False)}


def test_a_row_beyond_the_end_of_a_partition_that_lacks_a_replica_is_a_note(history):
    history.crosscheck.clear()
    history.partition(in_sync=2)
    history.wrong_mark(tid(2), found="beyond")
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (0, {"unsettled-mark": (1, False)})


@pytest.mark.parametrize("state", ["skipped", "vanished", "nowhere"])
@pytest.mark.parametrize("drain", ["deadline", None])
def test_what_postgres_calls_open_and_kafka_does_not_hold_is_a_violation_even_where_nobody_drained(
    history, state, drain
):
    history.send(A)
    history.store(A, "requeued")
    history.stores["again"] = {**history.stores[A], "state": state}
    history.drain = history.drain and drain and {**history.drain, "ended": drain}
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (10, {"given-up": (1, True)})
    assert verdict.classes["lost"] == (1 if drain else 0)


def test_an_open_record_of_an_id_that_arrived_is_a_note(history):
    history.crosscheck.append({"k": "open", "id": tid(1), "partition": 0, "offset": 7, "round": 2})
    history.figures = {"open": 1}
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (0, {"uncommitted": (1, False)})
    assert tid(1) in verdict.notes[0]


@pytest.fixture
def passed_over(history):
    history.send(A)
    history.store(A, "outbox", outbox="pending", partition=None, offset=None)
    history.drain["ended"] = "deadline"
    history.crosscheck.append({"k": "passed-over", "id": A, "after_s": 20.0})
    return history


def test_a_row_that_the_publisher_passed_over_is_a_violation_and_not_merely_late(passed_over):
    verdict = check(passed_over.write())
    assert (verdict.exit_code, verdict.classes["late"]) == (10, 1)
    assert kinds(verdict) == {"passed-over": (1, True)}


def test_with_kafka_under_attack_a_row_that_was_passed_over_is_late(passed_over):
    passed_over.fault("kill", "kafka-2")
    verdict = check(passed_over.write())
    assert (verdict.exit_code, kinds(verdict)) == (11, {"passed-over": (1, False)})


def test_kafka_away_is_said_and_changes_nothing(history):
    history.figures = {"kafka": False, "topic": None, "open_complete": False, "why": ["no broker answers"]}
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.notes) == (0, ("The stores were not compared in full: no broker answers.",))


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            {"ids": 10**6, "marked": {"rows": 5, "read": 5, "every": 10}},
            "Of 1000000 ids a sample, 5 published rows, was",
        ),
        ({"marked": {"rows": 9, "read": 5, "older": 1}}, "3 of 9 published rows were not looked up in Kafka"),
        ({"marked": {"rows": 1, "unplaced": 1}}, "1 published rows do not say where in Kafka they lie."),
        ({"open_complete": False}, "Not every record that the dispatcher's commits leave open was read."),
    ],
)
def test_a_comparison_that_was_bounded_says_so(history, figures, sentence):
    history.figures = figures
    verdict = check(history.write())
    assert verdict.exit_code == 0
    assert verdict.notes[0].startswith(sentence)


def test_a_run_of_a_version_without_the_comparison_is_judged_as_before_and_says_so(history):
    history.crosscheck = None
    folder = history.write()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["absent"].remove("crosscheck.jsonl")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    verdict = check(folder)
    assert (verdict.exit_code, verdict.notes) == (
        0,
        ("The four stores were not compared: this run has no crosscheck.jsonl.",),
    )
    (folder / "crosscheck.jsonl").write_bytes(b"")
    assert check(folder).exit_code == 12


def test_a_run_of_a_version_without_a_tracking_record_is_judged_as_before(history):
    history.tracking = None
    folder = history.write()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["absent"].remove("tracking.jsonl")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert check(folder).exit_code == 0
    (folder / "tracking.jsonl").write_bytes(b"")
    assert check(folder).exit_code == 12


def test_a_damaged_comparison_is_unknown_and_hides_no_loss(history):
    history.send(A)
    folder = history.write()
    (folder / "crosscheck.jsonl").write_bytes(b"{}\n")
    write_manifest(folder)
    verdict = check(folder)
    assert (verdict.exit_code, verdict.classes["lost"]) == (10, 1)
    assert any("crosscheck.jsonl" in reason for reason in verdict.reasons)


def test_no_line_of_the_comparison_excuses_a_loss(history):
    history.send(A)
    history.store(A, "in-kafka")
    history.crosscheck.append({"k": "open", "id": A, "partition": 0, "offset": 1, "round": 1})
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"]) == (10, 1)


def test_a_lost_id_is_told_store_by_store_with_the_command_that_shows_it(history):
    history.send(A)
    history.deliver(A, status=500)
    history.store(A, "retrying", offset=42)
    why = check(history.write()).why[A]
    for words in (
        "payments: stored at 2023-11-14 22:13:20.000 UTC",
        "outbox: published to 0@42",
        "topic: within the partition, and the dispatcher's commit counts it as finished",
        "attempts: none recorded",
        "ledger: 500, no 2xx",
        f"see it: bruce-control event {A}",
    ):
        assert words in why
    assert f"lost {A}: " in summary(check(history.write()))


@given(st.integers(0, 40), st.lists(st.integers(0, 60), unique=True, max_size=60))
def test_a_commit_covers_exactly_what_its_dispatcher_had_finished(start, finished):
    tracker = OffsetTracker(start)
    for offset in range(start, start + 61):
        tracker.add(offset)
    for step in finished:
        tracker.complete(start + step)
    coverage = Coverage(tracker.base, tracker.metadata())
    opened = set(tracker.open_offsets())
    assert all(coverage.covers(offset) == (offset not in opened) for offset in range(start + 61))
    assert set(coverage.gaps(start, start + 61)) == opened


def test_a_bitmap_that_was_cut_claims_less_and_never_more():
    tracker, chance = OffsetTracker(0), random.Random(1)
    for offset in range(200_000):
        tracker.add(offset)
    for offset in range(1, 200_000):
        if chance.random() < 0.5:
            tracker.complete(offset)
    metadata = tracker.metadata()
    assert len(metadata) <= MAX_METADATA_BYTES
    coverage, opened = Coverage(tracker.base, metadata), set(tracker.open_offsets())
    assert not [offset for offset in opened if coverage.covers(offset)]
    assert len(set(coverage.gaps(0, 200_000))) > len(opened)


@pytest.mark.parametrize("metadata", ["", "somebody else's", "b2::r:00000000:AAAA", None])
def test_metadata_that_is_no_bitmap_covers_nothing_beyond_the_offset(metadata):
    coverage = Coverage(COMMIT_OF_MANY, metadata)
    assert coverage.covers(COMMIT_OF_MANY - 1)
    assert not coverage.covers(COMMIT_OF_MANY)
    assert not Coverage(None, metadata).covers(0)
