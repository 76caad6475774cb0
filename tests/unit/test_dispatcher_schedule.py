from services.dispatcher.record import Position, Record
from services.dispatcher.schedule import Schedule


def record(offset, *, epoch=1, attempt=0, not_before_ms=0):
    made = Record(Position(0, offset, epoch), f"id-{offset}", b"{}", 0, not_before_ms)
    made.attempt = attempt
    return made


def offsets(schedule, now_s):
    found = []
    while (one := schedule.pop_due(now_s)) is not None:
        found.append(one.position.offset)
    return found


def test_records_come_out_when_they_are_due_and_not_before():
    schedule = Schedule()
    for due_s, offset in ((5.0, 1), (1.0, 2), (3.0, 3)):
        schedule.push(due_s, record(offset))
    assert schedule.next_due_s == 1.0
    assert offsets(schedule, 3.5) == [2, 3]
    assert offsets(schedule, 4.9) == []
    assert offsets(schedule, 5.0) == [1]
    assert schedule.next_due_s == float("inf")


def test_records_due_at_the_same_time_keep_their_order():
    schedule = Schedule()
    for offset in range(50):
        schedule.push(1.0, record(offset))
    assert offsets(schedule, 1.0) == list(range(50))


def test_a_probe_is_the_first_record_due_or_not():
    schedule = Schedule()
    assert schedule.pop() is None
    schedule.push(1e9, record(7))
    assert schedule.pop().position.offset == 7


def test_a_record_that_the_gate_refused_stands_in_nobodys_way_and_comes_back_first():
    schedule = Schedule()
    for offset in range(4):
        schedule.push(1.0, record(offset))
    for _ in range(3):
        schedule.set_aside(schedule.pop_due(2.0), 2.0)
    assert (len(schedule), schedule.new) == (4, 4)
    assert offsets(schedule, 2.0) == [3]
    schedule.bring_back(1)
    assert offsets(schedule, 2.0) == [0]
    schedule.bring_back()
    assert offsets(schedule, 2.0) == [1, 2]
    assert (len(schedule), schedule.new) == (0, 0)


def test_new_retrying_and_parked_records_are_counted_apart():
    schedule = Schedule()
    schedule.push(1.0, record(1))
    schedule.push(1.0, record(2, attempt=1))
    schedule.push(1.0, record(3, not_before_ms=99))
    schedule.push(1.0, record(4, attempt=2, not_before_ms=99))
    assert (schedule.new, schedule.retrying, schedule.parked) == (1, 2, 1)
    offsets(schedule, 1.0)
    assert (schedule.new, schedule.retrying, schedule.parked) == (0, 0, 0)


def test_records_of_a_revoked_assignment_are_dropped_wherever_they_wait():
    schedule = Schedule()
    for offset in range(6):
        schedule.push(float(offset), record(offset, epoch=1 + offset % 2))
    schedule.set_aside(schedule.pop_due(0.0), 0.0)
    dropped = schedule.drop(frozenset({2}))
    assert sorted(one.position.offset for one in dropped) == [0, 2, 4]
    assert (len(schedule), schedule.new) == (3, 3)
    assert offsets(schedule, 9.0) == [1, 3, 5]
