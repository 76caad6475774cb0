"""How the sending of a run that is over stood at each moment of it."""

import pytest

from control_room.runs.opened import OpenedRun
from control_room.tracking.record import lives
from control_room.tracking.record.lives import read_lives
from control_room.tracking.record.sendings import share_of
from tests.ui.records import NOW_S, PAYMENTS, SECONDS, made, tid
from tests.unit.histories import sha, write_chain
from tests.unit.member_processes import wait_until


def sent(op, number, at_s, due_s, tries=1):
    line = {"k": "invoke", "op": op, "id": tid(number), "try": tries, "at": NOW_S + at_s, "due": NOW_S + due_s}
    return {**line, "sha": sha(tid(number)), "row": number + 2}


def answered(op, at_s, kind="ok", **words):
    return {"k": kind, "op": op, "at": NOW_S + at_s, **words}


LOG = [
    {"k": "start", "run": "r", "at": NOW_S},
    sent(0, 0, 0.0, 0.0),
    answered(0, 0.1, status=201, dup=False, by="api-1"),
    sent(1, 1, 1.0, 1.0),
    sent(2, 2, 1.5, 1.1),
    answered(1, 2.0, "info", why="timeout"),
    sent(3, 1, 2.5, 1.0, tries=2),
    answered(2, 2.6, "fail", status=409),
    answered(3, 3.0, status=201, dup=True, by="api-2"),
    sent(4, 3, 4.0, 4.0),
    answered(4, 5.0, "info", why="reset"),
    {"k": "end", "ops": 5, "at": NOW_S + 6.0},
]


@pytest.fixture
def log(tmp_path):
    write_chain(tmp_path / "operations.jsonl", LOG)
    return read_lives(tmp_path).sendings


def test_each_moment_counts_what_had_left_and_what_was_answered_by_then(log):
    stood = [(log.at(NOW_S + at_s).payments, log.at(NOW_S + at_s).accepted) for at_s in (-1, 0.05, 0.1, 1.2, 2.9, 9)]
    assert stood == [(0, 0), (1, 0), (1, 1), (2, 1), (3, 1), (4, 2)]
    last = log.at(NOW_S + 9)
    assert (last.duplicates, last.refused, last.unanswered) == (1, {409: 1}, {"timeout": 1, "reset": 1})
    assert (last.requests, log.payments) == (5, 4)
    assert [log.at(NOW_S + at_s).line for at_s in (-1, 0.05, 2.9, 9)] == [0, 2, 4, 5]
    assert log.at(NOW_S + 2.3).unanswered == {"timeout": 1}


def test_latency_counts_from_when_a_payment_was_due_to_its_definite_answer(log):
    assert log.at(NOW_S + 9).latencies_s == pytest.approx([0.1, 1.5, 2.0], abs=1e-4)


def test_the_curves_have_a_value_for_each_second_until_the_moment(log):
    found = log.at(NOW_S + 3.2)
    assert found.rates_per_s == (1.0, 0.0, 0.0, 2.0)[-len(found.rates_per_s) :]
    assert found.p95s_s == pytest.approx((0.1, 0.0, 0.0, 2.0), abs=1e-4)
    assert found.recent_per_s == pytest.approx(3 / 5)
    assert log.at(NOW_S - 1).rates_per_s == ()
    assert len(log.at(NOW_S + 500).rates_per_s) == 60


def test_a_run_that_is_longer_than_is_listed_is_counted_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(lives, "MAX_IDS", 2)
    write_chain(tmp_path / "operations.jsonl", LOG)
    found = read_lives(tmp_path)
    assert len(found.by_id) <= 2
    assert (found.sendings.payments, found.sendings.at(NOW_S + 9).accepted) == (4, 2)


def test_of_a_share_the_nearest_rank_is_told():
    assert [share_of([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1.0, 1.0, 2.0, 3.0, 4.0]
    assert share_of([], 0.5) == 0.0


def test_an_opened_run_tells_of_its_sending_as_a_replay_does_of_itself(tmp_path):
    run_dir = made(tmp_path)
    (run_dir / "rejected.csv").write_bytes(b'line,reasons,row\n7,no amount,"a\nb"\n20,not UTF-8,\xe9\n')
    opened = OpenedRun(run_dir)
    opened.start()
    wait_until(lambda: opened.progress is not None, 30)
    opened.go(NOW_S + 10.005)
    wait_until(lambda: opened.progress.payments == 11, 30)
    half = opened.progress
    assert (half.accepted, half.in_flight, half.expected, half.ended) == (10, 1, PAYMENTS, False)
    assert (half.bad_rows, half.gave_up, half.rate_per_s) == (1, 0, pytest.approx(1.0))
    opened.go(NOW_S + 2.005)
    wait_until(lambda: opened.progress.payments == 3, 30)
    assert opened.progress.bad_rows == 0
    opened.go(NOW_S + SECONDS)
    wait_until(lambda: opened.progress.ended, 30)
    whole = opened.progress
    assert whole.bad_rows == 2
    assert (whole.accepted, whole.in_flight, whole.gave_up) == (PAYMENTS, 0, 0)
    assert (whole.elapsed_s, whole.rate_per_s) == (pytest.approx(PAYMENTS), pytest.approx(1.0))
    assert whole.p99_s == pytest.approx(0.01, abs=1e-4)
