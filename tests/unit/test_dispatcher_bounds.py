"""Memory stays bounded, and a standstill is told from a pause: intake and watchdog."""

import pytest

from services.dispatcher.assignments import Assignments
from services.dispatcher.flow import Flow
from services.dispatcher.intake import READY_AHEAD, Intake
from services.dispatcher.watchdog import Watchdog
from tests.unit.dispatcher_ports import Log


def test_records_on_their_way_count_too():
    intake = Intake(capacity=10, capacity_bytes=1000)
    intake.hand_over(4, 40)
    assert (intake.held, intake.room()) == (4, 6)
    intake.arrive(4)
    assert intake.room() == 6
    intake.release(10)
    assert (intake.held, intake.room()) == (3, 7)


def test_bytes_are_bounded_as_records_are():
    intake = Intake(capacity=1000, capacity_bytes=100)
    intake.hand_over(2, 100)
    assert intake.room() == 0
    intake.release(60)
    assert intake.room() == 998


def test_what_waits_for_a_free_place_is_bounded_below_the_capacity():
    intake = Intake(capacity=100_000, capacity_bytes=1 << 30)
    intake.ready = READY_AHEAD - 10
    intake.hand_over(4, 4)
    assert intake.room() == 6


def test_a_closed_intake_lets_one_record_through_where_a_probe_is_wanted():
    intake = Intake(capacity=10, capacity_bytes=1000)
    intake.open = False
    assert intake.room() == 0
    intake.probe_wanted = True
    assert intake.room() == 1
    intake.hand_over(1, 1)
    assert intake.room() == 0


class World:
    """A watchdog over one partition with ten records, of which none was taken."""

    def __init__(self, monkeypatch):
        self.now_s = 1000.0
        monkeypatch.setattr("services.dispatcher.watchdog.time.monotonic", lambda: self.now_s)
        self.intake = Intake(capacity=10, capacity_bytes=1000)
        self.log = Log({0: dict.fromkeys(range(10), (b"k", b"v"))}, {0: (0, "")})
        self.assignments = Assignments("t", "T")
        self.log.subscribe(["t"], lambda c, p: self.assignments.assign(c, p, lambda: False), None, None)
        self.log.rebalance("assign", 0)
        self.flow = Flow("t", self.assignments, self.intake, 100)
        self.watchdog = Watchdog("t", self.intake, 60.0)

    def after(self, seconds):
        self.now_s += seconds
        return self.watchdog.look(self.log, self.assignments, self.flow, self.now_s)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_lag_without_progress_is_said_and_at_last_ends_the_process(world, caplog):
    assert world.after(10) is None
    assert caplog.messages == []
    assert world.after(10) is None
    assert caplog.messages == ["records wait in Kafka and nothing moved for 20s held=0 partitions=[0]"]
    assert world.after(20) is None
    assert len(caplog.messages) == 1
    assert "nothing moved for 61 seconds" in world.after(21)
    assert world.watchdog.lag == {0: 10}


def test_a_pause_or_a_postgres_outage_is_no_standstill(world):
    world.intake.open = False
    assert [world.after(100) for _ in range(3)] == [None] * 3
    world.intake.open = True
    assert world.after(30) is None


def test_work_that_goes_on_is_no_standstill(world):
    for _ in range(5):
        world.intake.release(1)
        assert world.after(50) is None
    world.watchdog.progress()
    assert world.after(50) is None


def test_without_lag_there_is_nothing_to_wait_for(world):
    for offset in range(10):
        world.assignments.get(0).tracker.add(offset)
    assert [world.after(100) for _ in range(3)] == [None] * 3
    assert world.watchdog.lag == {0: 10}, "taken and not committed yet"


def test_brokers_that_do_not_answer_explain_a_standstill(world):
    asked = world.log.get_watermark_offsets
    world.log.get_watermark_offsets = lambda entry, timeout=None, cached=False: asked(entry) if cached else None
    assert world.after(61) is None
    assert world.after(50) is None
