"""When the screen may be drawn again, by a clock and a processor that the test moves."""

import pytest

from control_room.ui.resting import AGES_S, DRAWING_OF_CORE, LONGEST_REST_S, Rest


class Machine:
    """What the time is, and what was used of the processor."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.used_s = 0.0
        self.rest = Rest(lambda: self.now_s, lambda: self.used_s)

    def after(self, seconds: float, used_s: float = 0.0) -> Rest:
        self.now_s += seconds
        self.used_s += used_s
        return self.rest


def test_a_screen_that_took_its_share_rests_until_that_is_paid_for():
    machine = Machine()
    assert machine.rest.may_look()
    assert machine.rest.may_draw("one")
    rest = machine.after(0.25, used_s=0.02)
    assert not rest.may_draw("two")
    assert not machine.after(0.02 / DRAWING_OF_CORE - 0.3).may_draw("two")
    assert machine.after(0.06).may_draw("two")


def test_no_screen_is_older_than_the_longest_rest_whatever_it_took():
    machine = Machine()
    assert machine.rest.may_draw("one")
    assert not machine.after(LONGEST_REST_S - 0.1, used_s=60.0).may_draw("two")
    assert machine.after(0.2).may_draw("two")


def test_where_only_the_time_has_changed_it_is_drawn_once_a_second():
    machine = Machine()
    assert machine.rest.may_draw("one")
    assert not machine.after(AGES_S - 0.1).may_draw("one")
    assert machine.after(0.2).may_draw("one")


def test_while_it_rests_news_is_looked_at_once_a_second_and_at_once_when_it_may_be_drawn():
    machine = Machine()
    assert machine.rest.may_look()
    assert machine.rest.may_draw("one")
    looks = [machine.after(0.25, used_s=0.05 if tick == 0 else 0.0).may_look() for tick in range(13)]
    assert looks == [False] * 3 + [True] + [False] * 3 + [True] + [False] * 3 + [True] + [True]
    assert machine.rest.may_draw("two")


@pytest.mark.parametrize("told", [None, ""])
def test_the_first_screen_is_drawn_at_once_whatever_it_says(told):
    assert Machine().rest.may_draw(told)
