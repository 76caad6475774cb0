"""The guided tour: each step tells its keys, is ticked off when it is seen, and nothing is pressed."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from control_room.tracking.faults_view import FaultsView
from control_room.tracking.parts import Part
from control_room.tracking.runs import RunStanding
from control_room.tracking.snapshot import Pace
from control_room.ui.commands import TABLE, hint, with_keys
from control_room.ui.tour import STEPS, Tour
from control_room.ui.widgets.tour_line import TourLine
from tests.ui.driving import SIZES, driving, screen_text, wait_for
from tests.ui.moments import BROKER_DOWN, EMPTY, HEALTHY, STARTING, run

FLOWING = Pace(accepted=(0.0, 48.0, 50.0))


def of_run(snapshot, **changes):
    told = run(**changes)
    return replace(snapshot, run=Part(RunStanding(told, None)), runs=Part((told,)))


UP = replace(of_run(HEALTHY, verdict="proven", exported=True), faults=Part(FaultsView()), pace=Pace(accepted=(0.0,)))
"""Ready, with a run of an earlier day."""
MINE = {"run_id": "mine"}
REPLAYING = replace(of_run(UP, verdict="open", **MINE), pace=FLOWING)
KILLED = replace(of_run(BROKER_DOWN, verdict="open", **MINE), pace=FLOWING)
HEALED = of_run(UP, verdict="open", **MINE)
GREEN = of_run(UP, verdict="proven", **MINE)
EXPORTED = of_run(UP, verdict="proven", exported=True, **MINE)
WALK = (UP, REPLAYING, KILLED, HEALED, GREEN, EXPORTED)
"""What ticks off each step."""


def test_each_step_is_ticked_off_by_what_shows_it_and_by_nothing_before():
    tour = Tour()
    for number, moment in enumerate(WALK):
        for earlier in (EMPTY, STARTING, *WALK[max(0, number - 1) : number]):
            tour.look(earlier)
            assert tour.done == number
        tour.look(moment)
        assert tour.done == number + 1
    assert tour.step is None


def test_a_step_that_was_seen_stays_done():
    tour = Tour()
    tour.look(UP)
    tour.look(EMPTY)
    assert tour.done == 1


def test_the_verdict_and_the_report_are_those_of_the_tours_own_run():
    tour = Tour()
    for moment in WALK[:4]:
        tour.look(moment)
    tour.look(of_run(UP, verdict="proven", exported=True, run_id="another"))
    assert tour.done == 4
    for verdict in ("judging", "late", "unknown", "invalid"):
        tour.look(of_run(UP, verdict=verdict, **MINE))
        assert tour.done == 4


def test_a_fault_that_is_no_kill_of_a_broker_is_not_the_step():
    tour = Tour()
    tour.look(UP)
    tour.look(REPLAYING)
    (fault,) = KILLED.faults.value.running
    for other in (replace(fault, target="dispatcher"), replace(fault, name="freeze")):
        tour.look(replace(KILLED, faults=Part(FaultsView((other,)))))
        assert tour.done == 2


def test_the_keys_of_each_step_are_those_of_the_keymap():
    table = with_keys({"kill": "ctrl+k", "verify": "f7"})
    told = [hint(step.words, table) for step in STEPS]
    assert "ctrl+k" in told[2]
    assert "f7" in told[4]
    assert all("{" not in words for words in told)


@pytest.mark.parametrize("size", SIZES)
async def test_the_walk_is_ticked_off_on_the_screen_and_nothing_is_pressed(size):
    width, _ = SIZES[size]
    async with driving(EMPTY, SIZES[size], tour=True) as (pilot, app, source, desk):
        for number, step in enumerate(STEPS):
            await wait_for(pilot, lambda number=number: app.tour.done == number)
            app.draw()
            await pilot.pause()
            text = screen_text(app)
            assert text.count("✓", text.index(" Tour ")) == number
            assert f"▸ press {hint(step.words, TABLE)}" in text  # whole, at every width
            assert "T leaves" in text
            assert "q quit" in text
            assert max(cell_len(line) for line in text.split("\n")) <= width
            source.now = WALK[number]
        await wait_for(pilot, lambda: "every payment is proven delivered" in screen_text(app))
        assert desk.calls == []


async def test_one_key_begins_the_tour_and_leaves_it_in_every_view():
    async with driving(EMPTY) as (pilot, app, _, _):
        for view in "1234567":
            await pilot.press(view, "T")
            await wait_for(pilot, lambda: "press 1, then u" in screen_text(app))
            await pilot.press("T")
            await wait_for(pilot, lambda: not app.query_one(TourLine).display)
            assert "press 1, then u" not in screen_text(app)


async def test_the_tour_goes_on_while_the_keys_it_names_are_pressed():
    async with driving(EMPTY, tour=True) as (pilot, app, source, desk):
        await pilot.press("1", "u")
        await wait_for(pilot, lambda: desk.calls == [("up",)])
        source.now = UP
        await wait_for(pilot, lambda: app.tour.done == 1)
        await pilot.press("P", "enter")
        await wait_for(pilot, lambda: any(call[0] == "send" for call in desk.calls))
        source.now = REPLAYING
        await wait_for(pilot, lambda: app.tour.done == 2)
        await pilot.press("1", "j", "K")
        await wait_for(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("apply", "kill", ("kafka-1",), {}) in desk.calls)
        source.now = KILLED
        await wait_for(pilot, lambda: app.tour.done == 3)
        await pilot.press("H")
        await wait_for(pilot, lambda: ("heal", None) in desk.calls)
        source.now = HEALED
        await wait_for(pilot, lambda: app.tour.done == 4)
        await pilot.press("6", "v")
        await wait_for(pilot, lambda: any(call[0] == "verify" for call in desk.calls))
        source.now = GREEN
        await wait_for(pilot, lambda: app.tour.done == 5)
        await pilot.press("6", "e")
        await wait_for(pilot, lambda: any(call[0] == "export" for call in desk.calls))
        source.now = EXPORTED
        await wait_for(pilot, lambda: app.tour.step is None)
