"""Each collector owns its source: one that hangs or dies goes stale with its age, and costs nothing but its figures."""

import threading
import time

import pytest

from control_room.tracking.collector import CALM_LOOKS, Collector
from control_room.tracking.faults_view import FaultReader
from control_room.tracking.parts import SourceError
from control_room.tracking.watch import MIN_INTERVAL_S, Watch
from services.common.chain import ChainWriter
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
    said, asked = [7], []

    def read():
        asked.append(said[0])
        return said[0]

    collector = Collector("kafka", read, 0.02)
    collector.start()
    wait_until(lambda: len(asked) > 4 * CALM_LOOKS)
    wait_until(lambda: collector.every_s == 0.08)
    said[0] = 8
    wait_until(lambda: 8 in asked and collector.every_s == 0.02)
    collector.stop()


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
