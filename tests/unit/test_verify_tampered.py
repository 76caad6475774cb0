"""The bugs that a checker must not be fooled by, each as the files that it would leave behind (docs/verdict.md).

Bugs of a service are shown here by their evidence; the broken services themselves run in the e2e tests.
"""

import json

import pytest

from control_room.verify import check, write_manifest
from services.common.chain import ChainWriter
from tests.unit.histories import RUN, TOPIC, History, tid

A, B = tid(0xA), tid(0xB)


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(*range(1, 9))
    history.drain["ledger_next"] = history.ledger_from + len(history.ledger)
    history.partition()
    assert check(history.write()).exit_code == 0
    return history


def kinds(verdict):
    return {one.kind for one in verdict.stores.disagreements if one.violation}


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def chained_anew(path, lines, first=0):
    """What a careful forger would do: every number and checksum right again."""
    writer = ChainWriter(next_n=first, last_c="0badf00d" if first else "")
    records = [json.loads(line) for line in lines]
    path.write_bytes(b"".join(writer.line({k: v for k, v in one.items() if k not in "nc"}) for one in records))


@pytest.mark.parametrize("line", range(8))
def test_a_ledger_line_that_is_deleted_is_unknown(history, line):
    path = history.folder / "ledger.jsonl"
    lines = lines_of(path)
    del lines[line]
    path.write_bytes(b"".join(lines))
    assert check(history.folder).exit_code == 12
    write_manifest(history.folder)
    assert check(history.folder).exit_code in ((10,) if line == 7 else (12,))


@pytest.mark.parametrize("line", range(8))
def test_a_ledger_line_that_is_deleted_by_a_careful_forger_is_lost_or_unknown(history, line):
    path = history.folder / "ledger.jsonl"
    lines = lines_of(path)
    gone = json.loads(lines.pop(line))["id"]
    chained_anew(path, lines, history.ledger_from)
    assert check(history.folder).exit_code == 12
    write_manifest(history.folder)
    verdict = check(history.folder)
    assert (verdict.exit_code, verdict.examples["lost"]) == (10, (gone,))
    assert any("the drain had read up to" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("kept", range(1, 26))
def test_a_clients_log_that_is_truncated_is_never_green(history, kept):
    path = history.folder / "operations.jsonl"
    lines = lines_of(path)
    if kept >= len(lines):
        path.write_bytes(b"".join(lines)[: -1 - (kept - len(lines))])
    else:
        path.write_bytes(b"".join(lines[:kept]))
    assert check(history.folder).exit_code == 12
    write_manifest(history.folder)
    assert check(history.folder).exit_code == 12


@pytest.mark.parametrize("pair", [(0, 1), (2, 7)])
def test_two_bodies_that_are_swapped_are_corrupt_both(history, pair):
    first, second = (history.ledger[number] for number in pair)
    first["sha"], second["sha"] = second["sha"], first["sha"]
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["corrupt"]) == (10, 2)


def test_one_event_in_ten_thousand_that_is_dropped_is_lost_and_named(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(*range(10_000))
    gone = history.ledger.pop(4_321)["id"]
    history.store(gone, "delivered")
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.examples["lost"]) == (10, (gone,))


def test_an_event_that_was_rolled_back_and_delivered_is_a_phantom(history):
    history.send(A, "fail")
    history.deliver(A)
    history.send(B)
    history.deliver(B)
    history.store(B, payment=False)
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["leaked"], verdict.classes["phantom"]) == (10, 1, 1)


def test_an_answer_before_the_commit_that_never_came_is_lost(history):
    history.send(A)
    history.store(A, payment=False)
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"]) == (10, 1)
    assert "payments: no row" in verdict.why[A]


def test_a_merchant_that_says_200_and_writes_nothing_has_lost_it(history):
    history.send(A)
    history.store(A, "delivered")
    history.attempts.append({"k": "attempt", "id": A, "round": 1, "try": 1, "at": 1.0, "status": 200, "error": None})
    history.drain["ended"] = "deadline"
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"]) == (10, 1)
    assert "recorded as delivered" in verdict.why[A]
    assert "last attempt 1.1: 200; ledger: no line" in verdict.why[A]


@pytest.mark.parametrize(
    ("bug", "recorded", "shown"),
    [
        ("commit before delivery", "in-kafka", "skipped"),
        ("auto-commit", "retrying", "nowhere"),
        ("re-queue without waiting for the report", "requeued", "nowhere"),
        ("mark before the report", "in-kafka", "vanished"),
        ("acks=1 and the leader killed", "in-kafka", "vanished"),
    ],
)
@pytest.mark.parametrize("ended", ["complete", "deadline"])
def test_an_event_that_postgres_calls_open_and_nobody_will_deliver_is_lost_not_late(
    history, bug, recorded, shown, ended
):
    history.send(A)
    history.store(A, recorded)
    history.stores["again"] = {**history.stores[A], "state": shown}
    history.drain["ended"] = ended
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"], kinds(verdict)) == (10, 1, {"given-up"})


def test_a_row_marked_before_its_report_is_a_violation_where_luck_delivered_it(history):
    history.wrong_mark(tid(3), found="other")
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"], kinds(verdict)) == (10, 0, {"false-mark"})


def test_a_row_below_the_publishers_cursor_is_a_violation_not_late(history):
    history.send(A)
    history.store(A, "outbox", outbox="pending", partition=None, offset=None)
    history.drain["ended"] = "deadline"
    history.crosscheck.append({"k": "passed-over", "id": A, "after_s": 30.0})
    verdict = check(history.write())
    assert (verdict.exit_code, kinds(verdict)) == (10, {"passed-over"})


def test_evidence_of_another_run_does_not_pass_for_this_ones(history, tmp_path):
    other = History(tmp_path / "other", run="run-2").accepted_and_delivered(*range(1, 9)).write()
    (history.folder / "operations.jsonl").write_bytes((other / "operations.jsonl").read_bytes())
    write_manifest(history.folder)
    verdict = check(history.folder)
    assert verdict.exit_code == 12
    assert f"not by run {RUN}" in verdict.reasons[0]


def test_a_comparison_that_is_deleted_is_unknown(history):
    history.wrong_mark(tid(3))
    (history.write() / "crosscheck.jsonl").unlink()
    assert check(history.folder).exit_code == 12
    assert TOPIC in (history.folder / "run.json").read_text()
