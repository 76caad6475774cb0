"""Each collector owns its source: one that hangs or dies goes stale with its age, and costs nothing but its figures."""

import os
import shutil
import threading
import time

import pytest

from control_room.tracking.allowance import ALL_OF_CORE, LONGEST_PAID_S, LONGEST_REST_S, SHARE_OF_CORE, Allowance
from control_room.tracking.collector import CALM_MOST_S, CALM_S, MOST_S, Collector
from control_room.tracking.faults_view import FaultReader
from control_room.tracking.ledger_tail import KEPT_LINES, LedgerTail
from control_room.tracking.parts import SourceError
from control_room.tracking.runs import RunsReader
from control_room.tracking.watch import MIN_INTERVAL_S, Watch
from services.common.chain import ChainWriter
from tests.unit.ledger_server import Ledger, serving
from tests.unit.member_processes import MerchantDouble, ProcessRuntime, wait_until


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_source_that_dies_goes_stale_and_not_blank_and_comes_back():
    clock = Clock()
    answers = iter([7, SourceError("it is dead\nand more"), 8])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    collector = Collector("kafka", read, 1.0, clock)
    assert not collector.part().ok
    collector.look()
    assert (collector.part().value, collector.part().error) == (7, "")
    clock.now = 4.0
    collector.look()
    part = collector.part()
    assert (part.value, part.error, part.age_s, part.ok) == (7, "it is dead", 4.0, False)
    collector.look()
    assert (collector.part().value, collector.part().error, collector.part().age_s) == (8, "", 0.0)


def test_a_source_that_says_the_same_is_asked_less_often_until_it_says_something_else():
    said, clock = [7], Clock()
    collector = Collector("kafka", lambda: said[0], 0.5, clock)
    steps = ((CALM_S - 0.1, 0.5), (CALM_S, 1.0), (2 * CALM_S, 2.0), (4 * CALM_S, CALM_MOST_S))
    for now_s, every_s in ((0.0, 0.5), *steps):
        clock.now = now_s
        collector.look()
        assert collector.every_s == every_s
    said[0] = 8
    collector.look()
    assert collector.every_s == 0.5


def test_what_happens_in_one_source_wakes_those_that_were_calm():
    said, woken, clock = [7], [], Clock()
    calm = Collector("kafka", lambda: 1, 60.0, clock)
    waking = Collector("transactions", lambda: said[0], 60.0, clock, woke=lambda: woken.append(calm.stir()))
    for each in (calm, waking):
        each.look()
    clock.now = CALM_S
    waking.look()
    assert (calm.every_s, waking.every_s, woken) == (120.0, 120.0, [])
    said[0] = 8
    waking.look()
    assert (calm.every_s, waking.every_s, len(woken)) == (60.0, 60.0, 1)
    said[0] = 9
    waking.look()
    assert len(woken) == 1, "it was awake"


def test_together_they_take_no_more_than_their_share_for_long():
    clock = Clock()
    allowance = Allowance(clock)
    collector = Collector("run", lambda: 7, 0.5, clock, allowance=allowance)
    assert (allowance.stretch(), collector.every_s) == (1.0, 0.5)
    for _ in range(40):
        clock.now += 0.25
        collector.hurry()
        allowance.rest_s(0.04, 0.05)
    assert allowance.stretch() == pytest.approx((0.16 / ALL_OF_CORE) ** 2, rel=0.3)
    assert 0.5 < collector.every_s <= MOST_S
    clock.now += 60.0
    collector.hurry()
    assert (allowance.stretch(), collector.every_s) == (1.0, 0.5)


def test_a_source_that_answers_slowly_rests_longer_but_not_for_a_whole_time_out():
    allowance = Allowance()
    assert allowance.rest_s(0.001, 0.1) == pytest.approx(0.5)
    assert allowance.rest_s(0.001, 30.0) == LONGEST_REST_S
    assert allowance.rest_s(0.2, 0.2) == pytest.approx(0.2 / SHARE_OF_CORE), (
        "what the processor was used for is paid back whole"
    )


def test_a_look_that_had_much_to_catch_up_with_is_not_followed_by_a_minute_without_looks():
    assert Allowance().rest_s(3.0, 4.0) == LONGEST_PAID_S


def test_a_source_that_hangs_is_called_stale_after_a_while():
    clock = Clock()
    collector = Collector("postgres", lambda: 7, 1.0, clock)
    collector.look()
    clock.now = 2.9
    assert collector.part().ok
    clock.now = 5.2
    assert collector.part().error == "nothing was gathered for 5 s"
    never = Collector("merchant", lambda: 7, 1.0, clock)
    clock.now = 9.2
    assert (never.part().value, never.part().error) == (None, "nothing was gathered for 4 s")


def test_a_hanging_collector_holds_up_neither_the_others_nor_the_end():
    hang = threading.Event()
    hanging, living = Collector("a", lambda: hang.wait(60), 0.01), Collector("b", lambda: 1, 0.01)
    for each in (hanging, living):
        each.start()
    wait_until(lambda: living.part().ok)
    began = time.monotonic()
    for each in (hanging, living):
        each.stop()
    assert time.monotonic() - began < 0.5
    hang.set()


@pytest.fixture
def watching(tmp_path):
    started = []

    def start(runtime):
        watch = Watch(runtime, tmp_path)
        watch.start()
        started.append(watch)
        return watch

    yield start
    for watch in started:
        watch.stop()


def test_a_snapshot_is_at_hand_at_once_whatever_is_dead(watching):
    watch = watching(ProcessRuntime([]))
    began = time.monotonic()
    snapshot = watch.snapshot()
    assert time.monotonic() - began < 0.2
    wait_until(lambda: watch.snapshot().kafka.error == "no broker answers: none of the ports listens")
    assert not snapshot.kafka.ok


def test_all_of_postgres_is_not_counted_while_the_newest_run_has_a_sum_of_its_own(watching, tmp_path):
    watch = watching(ProcessRuntime([]))
    wait_until(lambda: watch.snapshot().counts.error)  # asked, in vain: no Postgres answers
    run = tmp_path / "runs" / "20260101-120000-0001"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"source": {"name": "/x/payments.csv"}}')
    (run / "verdict.json").write_text('{"verdict": "proven", "arithmetic": {"accepted": 3, "delivered": 3}}')
    wait_until(lambda: not watch.snapshot().counts.error)
    assert watch.snapshot().counts.value is None
    shutil.rmtree(run)
    wait_until(lambda: watch.snapshot().counts.error)


def test_no_more_than_four_snapshots_a_second_are_made(watching):
    watch = watching(ProcessRuntime([]))
    began = time.monotonic()
    numbers = set()
    while time.monotonic() - began < 4 * MIN_INTERVAL_S:
        numbers.add(watch.snapshot().number)
        time.sleep(0.01)
    assert 2 <= len(numbers) <= 5


def test_a_member_that_dies_and_returns_costs_its_own_figures_for_that_time(watching):
    merchant = MerchantDouble()
    watch = watching(ProcessRuntime([], merchant_url=merchant.url))
    wait_until(lambda: watch.snapshot().merchant.ok)
    assert not watch.snapshot().outbox.ok
    merchant.close()
    wait_until(lambda: watch.snapshot().merchant.error)
    stale = watch.snapshot().merchant
    assert stale.value.behaviour["failure_rate"] == 0.7
    assert stale.age_s > 0


def test_the_fault_journal_tells_what_is_open_and_what_was_seen(tmp_path):
    journal = tmp_path / "faults.jsonl"
    reader = FaultReader(journal, lasting=lambda name: name != "crash")
    assert reader.read().running == ()
    writer = ChainWriter()
    lines = [
        {"k": "apply", "fault": 1, "name": "kill", "target": "kafka-2", "at": 5.0, "expect": "kill kafka-2: leads 1"},
        {"k": "evidence", "fault": 1, "at": 5.1, "ok": True, "facts": {"pid_gone": True}},
        {"k": "apply", "fault": 2, "name": "crash", "target": "nginx", "at": 6.0, "expect": "crash nginx"},
        {"k": "evidence", "fault": 2, "at": 6.1, "ok": True, "facts": {}},
        {"k": "apply", "fault": 3, "name": "freeze", "target": "nginx", "at": 7.0, "expect": "freeze", "until": 9.0},
    ]
    journal.write_bytes(b"".join(writer.line(line) for line in lines))
    view = reader.read()
    assert [(each.number, each.verified, each.until_s) for each in view.running] == [(1, True, None), (3, None, 9.0)]
    assert [line.kind for line in view.recent] == ["apply", "evidence", "apply", "evidence", "apply"]
    with journal.open("ab") as file:
        file.write(writer.line({"k": "heal", "fault": 1, "at": 8.0, "ok": True, "facts": {}}) + b'{"torn')
    assert [each.number for each in reader.read().running] == [3]
    journal.write_bytes(b'{"not":"a chain"}\n')
    with pytest.raises(SourceError, match="damaged"):
        reader.read()


def test_the_ledgers_end_is_read_on_and_what_came_in_between_is_passed_over():
    ledger = Ledger(page_lines=10_000)
    with serving(ledger) as ends:
        tail = LedgerTail(ends.merchant_url)
        for number in range(3):
            ledger.add(f"id-{number}")
        assert [line.transaction_id for line in tail.read().lines] == ["id-0", "id-1", "id-2"]
        ledger.add("id-3")
        assert [line.number for line in tail.read().lines] == [0, 1, 2, 3]
        for number in range(4, 3 * KEPT_LINES):
            ledger.add(f"id-{number}")
        view = tail.read()
        assert view.total_lines == 3 * KEPT_LINES
        assert [line.number for line in view.lines] == list(range(2 * KEPT_LINES, 3 * KEPT_LINES))
        ledger.lines = ledger.lines[:2]  # another ledger, as after `down --volumes`
        assert [line.number for line in tail.read().lines] == [0, 1]
        tail.close()


def test_a_run_is_read_again_when_a_file_is_put_into_it_and_only_then(tmp_path):
    run = tmp_path / "runs" / "r1"
    run.mkdir(parents=True)
    reader = RunsReader(tmp_path / "runs")
    assert reader.read() == ()
    (run / "run.json").write_text('{"source": {"name": "/x/payments.csv"}}')
    assert [(each.run_id, each.what, each.verdict) for each in reader.read()] == [("r1", "payments.csv", "open")]
    (run / "verdict.json").write_text('{"verdict": "proven", "arithmetic": {"accepted": 3, "delivered": 3}}')
    assert [each.verdict for each in reader.read()] == ["proven"]
    long_ago_s = time.time() - 60
    os.utime(run, (long_ago_s, long_ago_s))
    told = reader.read()
    with (run / "operations.jsonl").open("ab") as file:
        file.write(b"{}")
    os.utime(run, (long_ago_s, long_ago_s))
    assert reader.read()[0] is told[0]
    shutil.rmtree(run)
    assert reader.read() == ()
