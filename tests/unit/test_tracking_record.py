"""The tracking record gives back every snapshot, whatever was cut off, and stays within its bounds."""

import itertools
import logging
import threading
from dataclasses import fields, replace

import pytest

from control_room.runs.recording import Recording, recorded
from control_room.stack.runtime import NotRunningError
from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.parts import Part
from control_room.tracking.record import RecordWriter, read_record
from control_room.tracking.record.form import KEPT_PARTS, LOG_CHARS, NEW_LOG_LINES, LoudLines, kept
from control_room.tracking.record.lines import WHOLE_EVERY
from control_room.tracking.record.patches import difference, patched
from control_room.tracking.record.reader import GAP_S
from control_room.tracking.runs import RunStanding
from control_room.tracking.snapshot import Snapshot
from control_room.verify.files import TRACKING
from services.common.chain import read_chain
from tests.ui.moments import ANOTHERS_SCENARIO, BROKER_DOWN, EMPTY, HEALTHY, LOST, MOMENTS, NOW_S, STARTING, UNKNOWN


def at(snapshot, second):
    return replace(snapshot, taken_at_s=NOW_S + second)


def counting(second):
    """A moment unlike every other."""
    run = HEALTHY.run.value
    told = replace(run.arithmetic, accepted=run.arithmetic.accepted + second)
    return at(replace(HEALTHY, run=Part(RunStanding(run.summary, told))), second)


def write(path, snapshots, **options):
    writer = RecordWriter(path, **options)
    wrote = [writer.take(snapshot) for snapshot in snapshots]
    writer.close()
    return wrote


def accepted(snapshot):
    return snapshot.run.value.arithmetic.accepted - HEALTHY.run.value.arithmetic.accepted


def test_every_part_of_every_moment_comes_back_as_it_was(tmp_path):
    states = [*MOMENTS.values(), HEALTHY, EMPTY, BROKER_DOWN, LOST, UNKNOWN, STARTING, ANOTHERS_SCENARIO]
    told = [at(state, second) for second, state in enumerate(states)]
    write(tmp_path / TRACKING, told)
    record = read_record(tmp_path / TRACKING)
    loud = LoudLines()
    for snapshot in told:
        expected = kept(snapshot, loud)
        found = record.at(snapshot.taken_at_s)
        for name in (*KEPT_PARTS, "runtime", "pace", "taken_at_s"):
            assert getattr(found, name) == getattr(expected, name), name


def test_no_part_of_a_snapshot_is_forgotten_by_the_record():
    parts = {item.name for item in fields(Snapshot) if isinstance(getattr(HEALTHY, item.name), Part)}
    assert parts - set(KEPT_PARTS) == {"transactions", "runs"}  # told by the run's own files


def test_the_database_address_is_not_kept(tmp_path):
    ends = replace(HEALTHY.stack.value, postgres_conninfo="host=127.0.0.1 password=hush")
    write(tmp_path / TRACKING, [replace(HEALTHY, stack=Part(ends))])
    assert b"hush" not in (tmp_path / TRACKING).read_bytes()


def test_where_nothing_changed_nothing_is_written_but_a_beat(tmp_path):
    wrote = write(tmp_path / TRACKING, [at(HEALTHY, second) for second in range(11)])
    assert [second for second, did in enumerate(wrote) if did] == [0, 5, 10]


def test_the_lines_are_a_chain_and_the_second_is_small(tmp_path):
    write(tmp_path / TRACKING, [counting(second) for second in range(3)])
    lines = (tmp_path / TRACKING).read_bytes().splitlines(keepends=True)
    assert [record["n"] for record in read_chain(lines)] == [0, 1, 2]
    assert len(lines[1]) < len(lines[0]) / 20


def test_a_torn_last_line_is_left_out_and_written_over(tmp_path):
    path = tmp_path / TRACKING
    write(path, [counting(second) for second in range(3)])
    whole = path.read_bytes()
    for cut in (1, 10, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        record = read_record(path)
        assert (len(record.moments), record.damage) == (2, "")
    write(path, [counting(7)])
    record = read_record(path)
    assert [accepted(record.at(NOW_S + second)) for second in (0, 1, 2, 7)] == [0, 1, 1, 7]
    assert record.damage == ""


def test_a_damaged_line_ends_the_record_with_a_sentence(tmp_path):
    path = tmp_path / TRACKING
    write(path, [counting(second) for second in range(5)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"step", b"stop", 1), *lines[3:]]))
    record = read_record(path)
    assert len(record.moments) == 2
    assert "line 3" in record.damage


def test_a_file_that_is_no_record_is_none(tmp_path):
    assert read_record(tmp_path / "missing") is None
    (tmp_path / TRACKING).write_bytes(b"nonsense\n")
    assert read_record(tmp_path / TRACKING) is None


def test_what_stood_still_without_a_line_is_called_not_recorded(tmp_path):
    write(tmp_path / TRACKING, [HEALTHY, at(UNKNOWN, 1)])
    record = read_record(tmp_path / TRACKING)
    assert record.at(NOW_S - 1) is None
    assert record.at(NOW_S + 4).members.error == ""
    assert record.at(NOW_S + 4).kafka.age_s == pytest.approx(UNKNOWN.kafka.age_s + 3)
    assert record.at(NOW_S + 2 + GAP_S).members.error == f"nothing was recorded for {GAP_S + 1:.0f} s"


def test_the_record_stays_within_its_limit_and_thins_out_what_is_old(tmp_path):
    path, limit, count = tmp_path / TRACKING, 60_000, 3 * WHOLE_EVERY
    write(path, [counting(second) for second in range(count)], limit_bytes=limit)
    assert path.stat().st_size <= limit
    record = read_record(path)
    assert record.damage == ""
    for moment in record.moments:
        assert accepted(record.at(moment.at_s)) == round(moment.at_s - NOW_S)
    times = [round(moment.at_s - NOW_S) for moment in record.moments]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert (times[0], times[-1]) == (0, count - 1)
    assert gaps[0] > 1
    assert gaps[-1] == 1
    assert not path.with_suffix(".thinning").exists()


def test_a_run_that_ends_does_not_wait_for_the_thinning(tmp_path):
    path = tmp_path / TRACKING
    writer = RecordWriter(path, 10_000, stop=lambda: True)
    for second in range(WHOLE_EVERY):
        writer.take(counting(second))
    writer.close()
    assert path.stat().st_size > 10_000
    assert len(read_record(path).moments) == WHOLE_EVERY
    assert [each.name for each in tmp_path.iterdir()] == [TRACKING]


def test_two_that_record_one_run_do_not_write_into_each_other(tmp_path):
    first, second = RecordWriter(tmp_path / TRACKING), RecordWriter(tmp_path / TRACKING)
    assert first.take(counting(0))
    assert not second.take(counting(1))
    first.close()
    assert second.take(counting(2))
    second.close()
    record = read_record(tmp_path / TRACKING)
    assert [accepted(record.at(NOW_S + each)) for each in (0, 1, 2)] == [0, 0, 2]


def test_of_the_logs_the_loud_lines_are_kept_a_bounded_number_at_a_time():
    loud = LoudLines()
    quiet = LogLine("dispatcher", "", "info", "delivered", "delivered")
    bad = LogLine("dispatcher", "", "error", "x" * 9000, "x" * 9000)
    server = LogLine("kafka-1", "", "", "WARN a controller left", "WARN a controller left")
    assert loud.of(LogView((quiet, server, bad))).lines == (
        server,
        replace(bad, text="x" * LOG_CHARS, raw="x" * LOG_CHARS),
    )
    after = loud.of(LogView((quiet, server, bad) + (bad,) * 500))
    assert len(after.lines) == 2 + NEW_LOG_LINES
    assert loud.of(LogView((bad,) * 503)) is after


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "c": [3]}),
        ([1, 2, 3], [2, 3, 4]),
        ([1, 2, 3], [1, 2, 3, 4, 5]),
        ([1, 2, 3], [1, 9, 3]),
        ([1, 2, 3], []),
        ([], [1]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": None}]),
        (1, True),
        (None, {"=": 1}),
        ({"=": {"k": 1}}, {"=": {"k": 2}}),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.5]),
    ],
)
def test_a_difference_put_in_gives_the_later_tree(before, now):
    found = patched(before, difference(before, now))
    assert found == now
    assert type(found) is type(now)
    assert difference(now, now) is None


def test_a_record_that_cannot_be_written_fails_no_run_and_says_so_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("control_room.runs.recording.EVERY_S", 0.001)
    caplog.set_level(logging.WARNING)
    (tmp_path / TRACKING).mkdir()
    with Recording(None, tmp_path, tmp_path, lambda: HEALTHY) as recording:
        recording._thread.join(10)
        assert not recording._thread.is_alive()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the run goes on without its tracking record"
    ]


def test_a_sealed_run_is_not_recorded_until_its_seal_is_taken_off(tmp_path, monkeypatch):
    monkeypatch.setattr("control_room.runs.recording.EVERY_S", 0.001)
    asked = iter(range(10_000_000))
    seal = tmp_path / "manifest.json"
    seal.write_text("{}")
    looked, wrote = threading.Event(), threading.Event()

    def snapshots():
        number = next(asked)
        if number > 3:
            looked.set()
        if (tmp_path / TRACKING).exists():
            wrote.set()
        return counting(number)

    with Recording(None, tmp_path, tmp_path, snapshots):
        assert looked.wait(10)
        assert not wrote.is_set()
        seal.unlink()
        assert wrote.wait(10)


def test_without_a_stack_here_nothing_is_recorded(tmp_path):
    class Down:
        def endpoints(self):
            raise NotRunningError("no stack is running")

    with recorded(Down(), tmp_path, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_once_a_recording_was_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("control_room.runs.recording.EVERY_S", 0.001)
    second, enough = iter(range(10_000_000)), threading.Event()

    def snapshots():
        number = next(second)
        if number > 3:
            enough.set()
        return counting(number)

    with Recording(None, tmp_path, tmp_path, snapshots) as recording:
        assert enough.wait(10)
        recording.close()
        content = (tmp_path / TRACKING).read_bytes()
        recording._thread.join(10)
    assert content
    assert (tmp_path / TRACKING).read_bytes() == content
