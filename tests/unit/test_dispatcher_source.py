"""The consumer thread over a log in memory: what is handed over, and which offsets are committed when."""

import json
import uuid

import pytest

from services.common.bitmap import topic_id_in
from services.common.catch_up import CatchUp
from services.dispatcher import source
from services.dispatcher.cluster import ClusterWatch
from services.dispatcher.intake import Intake
from services.dispatcher.record import Record
from services.dispatcher.source import Source
from services.dispatcher.tracker import OffsetTracker
from services.dispatcher.watchdog import Watchdog
from tests.unit.dispatcher_ports import Log, wait_until


def content(offset):
    key = str(uuid.UUID(int=offset))
    return key.encode(), json.dumps({"Transaction ID": key}).encode()


class Sink:
    def __init__(self):
        self.taken, self.epochs, self.partitions, self.sentences, self.gone = [], frozenset(), (), [], False
        self.sizes = []
        """How many came at once."""
        self.given_up, self.on_revoking = [], lambda: None

    def records(self, records):
        self.sizes.append(len(records))
        self.taken += records

    def assigned(self, epochs, partitions):
        self.epochs, self.partitions = epochs, partitions

    def revoking(self, epochs, partitions, then):
        self.given_up.append((epochs, partitions))
        self.on_revoking()
        then()

    def fatal(self, sentence):
        self.sentences.append(sentence)

    def left(self):
        self.gone = True


class World:
    def __init__(self, log, **limits):
        self.log, self.sink = log, Sink()
        self.intake = Intake(capacity=limits.get("capacity", 10_000), capacity_bytes=1 << 24)
        watchdog = Watchdog("t", self.intake, limits.get("stall_exit_s", 60.0))
        self.source = Source(
            self._make, "t", self.intake, self.sink,
            max_window=limits.get("max_window", 24_000), commit_interval_s=0.01, watchdog=watchdog,
            cluster=ClusterWatch("t", "T", self.log.ask_cluster),
            catch_up=limits.get("catch_up", CatchUp(0)),
        )  # fmt: skip

    def _make(self, error_cb, on_commit):
        self.erred, self.log.on_commit = error_cb, on_commit
        return self.log

    def start(self, *partitions):
        self.log.script.append(lambda: self.log.rebalance("assign", *partitions))
        self.source.start()
        wait_until(lambda: self.sink.partitions == partitions)
        return self

    def offsets(self, partition=0):
        return [one.position.offset for one in self.sink.taken if one.position.partition == partition]

    def place(self, offset, partition=0):
        """The last place under which an offset was handed over."""
        return [one.position for one in self.sink.taken if one.position[:2] == (partition, offset)][-1]

    def complete(self, *offsets, partition=0):
        self.source.complete([self.place(one, partition) for one in offsets])

    def rebalance(self, kind, *partitions):
        before = self.sink.epochs
        self.log.script.append(lambda: self.log.rebalance(kind, *partitions))
        wait_until(lambda: self.sink.epochs != before)


def worlds():
    """What the fixture `world` does."""
    made = []

    def make(log, *partitions, **limits):
        made.append(World(log, **limits).start(*(partitions or tuple(log.logs))))
        return made[-1]

    yield make
    for one in made:
        one.intake.open = True
        one.source.finish(1.0)
        wait_until(lambda one=one: one.sink.gone or one.sink.sentences)


@pytest.fixture
def world():
    """`world(log, …)` starts a consumer thread with every partition of the log."""
    yield from worlds()


def records(*offsets):
    return {offset: content(offset) for offset in offsets}


def test_every_record_is_handed_over_once_in_the_order_of_its_partition(world):
    one = world(Log({0: records(*range(900)), 1: records(*range(5))}))
    wait_until(lambda: len(one.sink.taken) == 905)
    assert one.offsets(0) == list(range(900))
    assert one.offsets(1) == list(range(5))
    assert all(isinstance(record, Record) for record in one.sink.taken)


def test_nothing_is_committed_that_was_not_completed_and_the_lowest_open_offset_holds_the_rest(world):
    log = Log({0: records(*range(10))})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 10)
    one.complete(0, 1, 3, 9)
    wait_until(lambda: 0 in log.stored)
    offset, metadata = log.stored[0]
    assert offset == 2
    again = OffsetTracker(offset, metadata)
    assert [other for other in range(2, 10) if again.add(other)] == [2, 4, 5, 6, 7, 8]
    assert {key: value for call in log.asked if call[0] == "commit" for key, value in call[1].items()} == {0: 2}


def test_what_an_earlier_commit_covers_is_not_handed_over_again(world):
    before = OffsetTracker(0)
    for offset in range(8):
        before.add(offset)
    for offset in (2, 5, 6):
        before.complete(offset)
    one = world(Log({0: records(*range(10))}, {0: (0, before.metadata())}))
    wait_until(lambda: one.offsets() == [0, 1, 3, 4, 7, 8, 9])


@pytest.mark.parametrize(("topic_id", "first"), [("another", 0), ("T", 6)])
def test_a_commit_on_a_topic_that_was_made_anew_since_hides_none_of_its_records(world, topic_id, first):
    before = OffsetTracker(6)
    one = world(Log({0: records(*range(10))}, {0: (6, before.metadata(topic_id))}))
    wait_until(lambda: one.offsets() == list(range(first, 10)))
    one.complete(first)
    wait_until(lambda: one.log.stored[0][0] == first + 1)
    assert topic_id_in(one.log.stored[0][1]) == "T"


def test_a_record_that_the_client_passed_over_is_read_again_and_not_lost(world):
    log = Log({0: records(*range(10))}, {0: (0, "")})
    log.slips = {(0, 4)}
    one = world(log)
    wait_until(lambda: one.offsets() == list(range(10)))
    assert ("seek", 0, 4) in log.asked


def test_offsets_that_do_not_exist_are_believed_at_the_second_reading_and_hold_nothing_up(world):
    log = Log({0: records(0, 1, 7, 8)}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: one.offsets() == [0, 1, 7, 8])
    assert log.asked.count(("seek", 0, 2)) == 1
    one.complete(0, 1, 7, 8)
    wait_until(lambda: log.stored[0][0] == 9)


def test_a_log_that_begins_anew_is_delivered_whole_whatever_was_complete_in_the_old_one(world):
    log = Log({0: records(*range(100, 110))}, {0: (100, "")})
    one = world(log)
    wait_until(lambda: len(one.offsets()) == 10)
    old = {offset: one.place(offset) for offset in range(100, 110)}
    one.source.complete([old[offset] for offset in (100, 101, 105, 107)])
    wait_until(lambda: log.stored[0][0] == 102)
    log.script.append(lambda: (log.logs.update({0: records(*range(110))}), log.positions.update({0: 0})))
    wait_until(lambda: one.offsets()[10:] == list(range(110)))
    one.source.complete([old[offset] for offset in range(102, 110)])
    one.complete(0)
    wait_until(lambda: log.stored[0][0] == 1)
    again = OffsetTracker(*log.stored[0])
    assert all(again.add(offset) for offset in range(1, 110)), (
        "a completion of the old log means nothing in the new one"
    )


def test_a_completion_after_a_revoke_commits_nothing_of_somebody_elses(world):
    log = Log({0: records(*range(5)), 1: records(*range(5))}, {0: (0, ""), 1: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 10)
    one.rebalance("revoke", 0)
    one.complete(0, 1, 2)
    one.complete(0, partition=1)
    wait_until(lambda: log.stored[1][0] == 1)
    assert log.stored[0][0] == 0
    assert one.sink.partitions == (1,)


def test_what_was_complete_is_committed_before_a_partition_is_given_up(world):
    log = Log({0: records(*range(5))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 5)

    def revoke():
        one.complete(0, 1, 2)
        log.rebalance("revoke", 0)

    log.script.append(revoke)
    wait_until(lambda: one.sink.partitions == ())
    assert log.stored[0][0] == 3


def test_what_ends_while_a_partition_is_given_up_is_committed_with_it(world):
    log = Log({0: records(*range(5)), 1: records(*range(5))}, {0: (0, ""), 1: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 10)
    epoch = one.place(0, partition=1).epoch
    one.sink.on_revoking = lambda: one.complete(0, 1, 2)
    one.rebalance("revoke", 0)
    assert log.stored[0][0] == 3
    assert one.sink.given_up == [(frozenset({epoch}), (1,))]


def test_a_lost_partition_is_not_waited_for(world):
    one = world(Log({0: records(*range(5))}, {0: (0, "")}))
    one.rebalance("lost", 0)
    assert one.sink.given_up == []


def test_the_group_is_not_held_up_for_long_by_what_does_not_end(world, monkeypatch, caplog):
    monkeypatch.setattr(source, "HAND_OVER_S", 0.05)
    one = world(Log({0: records(*range(5))}, {0: (0, "")}))
    monkeypatch.setattr(one.sink, "revoking", lambda *_: None)
    one.rebalance("revoke", 0)
    assert "partitions [0] are given up with work under way" in caplog.text


def test_a_lost_partition_is_never_committed(world):
    log = Log({0: records(*range(5))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 5)

    def lose():
        one.complete(0, 1, 2)
        log.rebalance("lost", 0)

    log.script.append(lose)
    wait_until(lambda: one.sink.partitions == ())
    one.complete(3)
    one.rebalance("assign", 0)
    wait_until(lambda: len(one.sink.taken) == 10)
    assert not [call for call in log.asked if call[0] == "commit"]


def test_a_partition_that_comes_back_is_read_from_its_commit_and_old_completions_mean_nothing(world):
    log = Log({0: records(*range(5))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 5)
    old = one.place(0)
    one.rebalance("lost", 0)
    one.rebalance("assign", 0)
    wait_until(lambda: len(one.sink.taken) == 10)
    one.source.complete([old])
    one.complete(4)
    wait_until(lambda: log.stored[0][1] != "")
    assert log.stored[0][0] == 0


def test_records_read_while_the_assignment_changes_count_for_neither_assignment(world):
    log = Log({0: records(*range(50))})
    one = world(log)
    wait_until(lambda: len(one.offsets()) == 50)

    def grow():
        # This poll brings offset 50 of the old assignment; the consume behind it changes the assignment.
        log.logs[0].update(records(*range(50, 60)))
        log.script.append(lambda: (log.rebalance("lost", 0), log.rebalance("assign", 0)))

    log.script.append(grow)
    wait_until(lambda: len(one.offsets()) >= 110)
    assert one.offsets()[50:] == list(range(60))


def test_a_long_wait_for_the_committed_offsets_is_no_standstill(world, monkeypatch):
    monkeypatch.setattr("services.dispatcher.assignments.RETRY_S", 0.001)
    log = Log({0: records(5, 6)})
    log.refuse_committed = 200
    made = world(log)
    assert made.source.rounds >= 200, "each question counts"
    wait_until(lambda: made.offsets() == [5, 6])


def test_a_refused_commit_is_made_again(world):
    log = Log({0: records(*range(3))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 3)
    log.refuse_commits = 2
    one.complete(0, 1, 2)
    wait_until(lambda: log.stored[0][0] == 3)


def test_in_a_pause_partitions_are_paused_and_polled_and_one_record_becomes_the_probe(world):
    log = Log({0: records(), 1: records()})
    one = world(log)
    one.intake.open = False
    wait_until(lambda: log.paused == {0, 1})
    log.logs[0].update(records(0, 1, 2))
    one.intake.probe_wanted = True
    wait_until(lambda: one.offsets() == [0])
    wait_until(lambda: log.paused == {0, 1})
    assert one.offsets() == [0]
    one.intake.arrive(1)
    one.intake.probe_wanted = False
    one.intake.open = True
    wait_until(lambda: one.offsets() == [0, 1, 2])


def test_a_pause_survives_no_assignment_by_mistake(world):
    """The client keeps a partition's pause over revoke and assign: it is set anew after every change."""
    log = Log({0: records(*range(3))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.offsets()) == 3)
    one.intake.open = False
    wait_until(lambda: log.paused == {0})
    one.rebalance("revoke", 0)
    one.intake.open = True
    one.rebalance("assign", 0)
    wait_until(lambda: len(one.offsets()) == 6)
    assert log.paused == set()


def test_no_more_is_taken_than_there_is_room_for(world):
    one = world(Log({0: records(*range(100))}), capacity=10)
    wait_until(lambda: one.log.paused == {0})
    assert len(one.offsets()) == 10
    one.intake.arrive(10)
    for record in list(one.sink.taken[:4]):
        one.intake.release(record.size_bytes)
    wait_until(lambda: len(one.offsets()) == 14)


def test_a_partition_whose_window_is_full_stops_alone(world):
    one = world(Log({0: records(*range(600)), 1: records(*range(3))}), max_window=100)
    wait_until(lambda: one.log.paused == {0})
    taken = len(one.offsets(0))
    assert 100 <= taken <= 600
    wait_until(lambda: len(one.offsets(1)) == 3)
    one.complete(*range(taken))
    wait_until(lambda: len(one.offsets(0)) == 600)


def test_the_end_settles_commits_and_closes(world):
    log = Log({0: records(*range(3))}, {0: (0, "")})
    one = world(log)
    wait_until(lambda: len(one.sink.taken) == 3)
    one.complete(0, 1, 2)
    one.source.finish(2.0)
    wait_until(lambda: one.sink.gone)
    assert log.stored[0][0] == 3
    assert log.asked[-1] == ("close",)
