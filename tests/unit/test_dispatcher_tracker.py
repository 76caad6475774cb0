"""The tracker against a model made of plain sets: the promise rests on it."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.common import bitmap
from services.dispatcher.tracker import OffsetTracker


class TrackerModel(RuleBasedStateMachine):
    """Takes a partition's stream with gaps, completes in any order, and restarts from what a commit carries."""

    @initialize(start=st.integers(0, 70_000), committed=st.booleans())
    def begin(self, start, committed):
        self.tracker = OffsetTracker(start if committed else None)
        self.base = self.next = start
        self.complete, self.missing, self.fresh = set(), set(), not committed

    def advance(self):
        while self.base in self.complete:
            self.base += 1

    @rule(gap=st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 70_000)))
    def take(self, gap):
        gap = 0 if self.fresh else gap
        offset = self.next + gap
        expected = offset not in self.complete
        assert self.tracker.add(offset) == expected
        self.complete.update(range(self.next, offset))
        self.next, self.fresh = offset + 1, False
        self.advance()

    @rule(many=st.integers(1, 300))
    def take_many(self, many):
        for _ in range(many):
            self.take(0)

    @rule(back=st.integers(1, 50))
    def take_again(self, back):
        offset = self.next - back
        if not self.fresh and offset >= min(self.base, self.next):
            assert not self.tracker.add(offset)

    @rule(pick=st.integers(0, 10_000), many=st.integers(1, 200))
    def finish(self, pick, many):
        unfinished = [offset for offset in range(self.base, self.next) if offset not in self.complete]
        for offset in (unfinished[pick % len(unfinished) :] if unfinished else [])[:many]:
            self.tracker.complete(offset)
            self.complete.add(offset)
        self.advance()

    @rule(offset=st.integers(0, 140_000))
    def finish_what_was_never_taken(self, offset):
        if not self.base <= offset < self.next:
            self.tracker.complete(offset)

    @rule()
    def restart(self):
        if self.tracker.base is None:
            return
        self.tracker = OffsetTracker(self.tracker.base, self.tracker.metadata())
        self.next = self.base

    @invariant()
    def agrees(self):
        if self.fresh:
            assert (self.tracker.base, self.tracker.next_offset, self.tracker.metadata()) == (None, None, "")
            return
        assert self.tracker.base == self.base
        assert self.tracker.next_offset == self.next
        assert self.tracker.span == max(0, self.next - self.base)
        assert self.tracker.open_offsets() == [one for one in range(self.base, self.next) if one not in self.complete]
        text = self.tracker.metadata()
        assert len(text) <= bitmap.MAX_METADATA_BYTES
        bits, origin = bitmap.decode(text), self.base & ~7
        stored = {origin + k for k in range(len(bits) * 8) if bits[k >> 3] >> (k & 7) & 1}
        assert {one for one in stored if one >= self.base} == {one for one in self.complete if one >= self.base}


TrackerModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTrackerAgreesWithSets = TrackerModel.TestCase


def taken(count, committed=0):
    tracker = OffsetTracker(committed)
    for offset in range(committed, committed + count):
        assert tracker.add(offset)
    return tracker


def test_an_offset_is_committed_only_when_every_one_below_it_is_complete():
    tracker = taken(5)
    for offset in (1, 2, 4):
        tracker.complete(offset)
    assert tracker.base == 0
    tracker.complete(0)
    assert tracker.base == 3
    tracker.complete(3)
    assert tracker.base == 5


def test_what_was_complete_beyond_the_committed_offset_is_not_delivered_again_after_a_restart():
    tracker = taken(100, committed=7)
    for offset in (9, 30, 31, 106):
        tracker.complete(offset)
    again = OffsetTracker(tracker.base, tracker.metadata())
    assert [offset for offset in range(7, 110) if not again.add(offset)] == [9, 30, 31, 106]


def test_a_restart_without_readable_metadata_delivers_again_and_skips_nothing():
    again = OffsetTracker(7, "b2::r:00000000:////")
    assert all(again.add(offset) for offset in range(7, 40))


def test_a_partition_without_a_commit_starts_where_its_stream_does():
    tracker = OffsetTracker()
    assert tracker.base is None
    assert tracker.add(1234)
    assert (tracker.base, tracker.next_offset, tracker.span) == (1234, 1235, 1)


def test_a_completed_offset_that_is_read_again_is_not_delivered_again():
    tracker = taken(3)
    tracker.complete(1)
    assert not tracker.add(1)
    assert not tracker.add(0), "still being worked on"
    assert tracker.next_offset == 3


def test_a_gap_of_millions_costs_neither_time_nor_memory():
    tracker = taken(2)
    tracker.add(5_000_000)
    assert tracker.open_offsets()[:3] == [0, 1, 5_000_000]
    tracker.complete(0)
    tracker.complete(1)
    assert tracker.base == 5_000_000
    assert len(tracker.metadata()) == 0


@pytest.mark.parametrize(("offset", "behind"), [(4, True), (5, False), (9, False), (20, False)])
def test_only_an_offset_below_all_that_is_known_is_behind(offset, behind):
    tracker = taken(10)
    for one in range(5):
        tracker.complete(one)
    assert tracker.is_behind(offset) is behind


def test_offsets_that_a_commit_covers_are_not_behind_when_the_stream_brings_them():
    first = taken(10)
    for one in range(1, 10):
        first.complete(one)
    tracker = OffsetTracker(0, first.metadata())
    tracker.add(0)
    tracker.complete(0)
    assert (tracker.base, tracker.next_offset) == (10, 1)
    assert not tracker.is_behind(1)
    assert [tracker.add(one) for one in range(1, 11)] == [False] * 9 + [True]
