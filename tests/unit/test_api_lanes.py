"""services.common.lanes, which the API and the publisher share."""

from services.common.lanes import PROBE_INTERVAL_S, STALL_S, TURN_S, Lanes


def picks(lanes, count, now_s=0.0):
    """The partitions of so many turns, the first of them at `now_s`."""
    return [lanes.pick(now_s + turn * TURN_S)[0] for turn in range(count)]


def test_partitions_take_turns_by_a_clock_that_all_producers_share():
    assert picks(Lanes(3), 5) == picks(Lanes(3), 5) == [0, 1, 2, 0, 1]
    lanes = Lanes(3)
    assert {lanes.pick(7.0)[0] for _ in range(5)} == {lanes.pick(7.0)[0]}, "one partition in one turn"


def test_a_lane_that_gets_no_report_is_passed_over_and_the_others_go_on():
    lanes = Lanes(3)
    lanes.sent(1, 5, 0.0)
    assert set(picks(lanes, 6, STALL_S + 0.1)) == {0, 2}


def test_a_report_opens_a_stalled_lane():
    lanes = Lanes(2)
    lanes.sent(1, 5, 0.0)
    lanes.reported(1, ok=True, now_s=STALL_S + 1)
    assert picks(lanes, 2, STALL_S + 1.1) == [0, 1]


def test_a_failed_lane_gets_one_probe_at_a_time_even_while_the_others_do_well():
    lanes = Lanes(2)
    lanes.sent(0, 1, 0.0)
    lanes.reported(0, ok=False, now_s=0.0)
    assert lanes.pick(0.1) == (1, None)
    assert lanes.pick(PROBE_INTERVAL_S) == (0, 1)
    lanes.sent(0, 1, PROBE_INTERVAL_S)
    assert lanes.pick(PROBE_INTERVAL_S) == (1, None)
    lanes.reported(0, ok=True, now_s=PROBE_INTERVAL_S)
    assert sorted(picks(lanes, 2, PROBE_INTERVAL_S)) == [0, 1]


def test_with_all_brokers_down_nothing_but_a_probe_per_lane_is_taken():
    lanes = Lanes(2)
    lanes.all_down(0.0)
    assert not lanes.open
    for _ in range(2):
        partition, room = lanes.pick(0.0)
        assert room == 1
        lanes.sent(partition, 1, 0.0)
    assert lanes.pick(0.1) is None


def test_the_first_report_after_all_were_down_opens_every_lane():
    lanes = Lanes(3)
    lanes.all_down(0.0)
    lanes.sent(0, 1, 0.0)
    lanes.reported(0, ok=True, now_s=1.0)
    assert [room for _, room in (lanes.pick(1.0), lanes.pick(1.0), lanes.pick(1.0))] == [None] * 3


def test_what_the_producer_did_not_take_is_not_waited_for():
    lanes = Lanes(1)
    lanes.sent(0, 5, 0.0)
    lanes.unsent(0, 5)
    assert lanes.in_flight == 0
    assert lanes.pick(STALL_S + 1) == (0, None)
