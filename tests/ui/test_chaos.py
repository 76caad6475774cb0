"""Breaking things from the control room: for a time, several members at once, at a crash point, step by step."""

from textual.widgets import Input

from control_room.chaos.catalogue import CATALOGUE
from control_room.stack.runtime import StackError
from control_room.tracking.steps import StepBoard, StepEvent, StepState
from control_room.ui.dialogs import Ask, Choose, ChooseSome, Page, Prompt
from control_room.ui.widgets.line_list import LineList
from control_room.ui.widgets.step_list import StepList
from services.common.crash import POINTS
from tests.ui.driving import FakeDesk, driving, screen_text, wait_for
from tests.ui.moments import ANOTHERS_SCENARIO, NOW_S

FAULTS = list(CATALOGUE)


async def to_the_fault(pilot, app, name):
    """In the view Chaos, armed, with the cursor on the fault."""
    await pilot.press("4", "exclamation_mark")
    app.query_one("#offers", LineList).go_to(name)


async def dialog(pilot, app, kind):
    await wait_for(pilot, lambda: isinstance(app.screen, kind))


async def test_a_fault_can_be_given_a_time_when_it_is_confirmed():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("j", "K")
        await dialog(pilot, app, Ask)
        assert app.focused.id == "cancel"
        await pilot.press("right", "right", "enter")
        await dialog(pilot, app, Prompt)
        app.screen.query_one(Input).value = "soon"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "is not a duration" in screen_text(app))
        app.screen.query_one(Input).value = "2 m"
        await pilot.press("enter")
        await wait_for(pilot, lambda: ("apply", "kill", ("kafka-1",), {}, 120.0) in desk.calls)
        assert "chaos kill kafka-1 --for 2m" in app.jobs.all[-1].command


async def test_what_is_over_by_itself_is_offered_no_time():
    async with driving() as (pilot, app, _, _):
        await pilot.press("j", "r")
        await dialog(pilot, app, Ask)
        assert "For a time" not in screen_text(app)


async def test_several_members_are_crashed_together_under_one_name():
    async with driving() as (pilot, app, _, desk):
        await to_the_fault(pilot, app, "crash")
        await pilot.press("enter")
        await dialog(pilot, app, ChooseSome)
        await pilot.press("j", "space", "space", "enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("apply", "crash", ("kafka-1", "kafka-2"), {}) in desk.calls)
        assert app.jobs.all[-1].command == "chaos crash kafka-1 kafka-2"


async def test_the_marked_members_of_the_stack_are_crashed_together():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("j", "space", "space", "c")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("apply", "crash", ("kafka-1", "kafka-2"), {}) in desk.calls)


async def test_a_crash_point_is_armed_as_any_other_fault():
    async with driving() as (pilot, app, _, desk):
        await to_the_fault(pilot, app, "crash-point")
        await pilot.press("enter")
        await dialog(pilot, app, Choose)
        for _ in range(list(POINTS).index("api.before-produce")):
            await pilot.press("j")
        await pilot.press("enter")
        await dialog(pilot, app, ChooseSome)
        await pilot.press("j", "enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        wanted = ("apply", "crash-point", ("ingestion-api-2",), {"point": "api.before-produce"})
        await wait_for(pilot, lambda: wanted in desk.calls)
        assert app.jobs.all[-1].command == "chaos crash-point api.before-produce ingestion-api-2"


async def test_a_link_and_a_clock_are_asked_for_what_they_take():
    async with driving() as (pilot, app, _, desk):
        await to_the_fault(pilot, app, "link")
        await pilot.press("enter")
        await dialog(pilot, app, ChooseSome)
        await pilot.press("enter")
        await dialog(pilot, app, Prompt)
        app.screen.query_one(Input).value = "mode=slow"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "latency_ms" in screen_text(app))
        app.screen.query_one(Input).value = "mode=slow latency_ms=200"
        await pilot.press("enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        wanted = ("apply", "link", ("ingestion-api:postgres",), {"mode": "slow", "latency_ms": 200.0})
        await wait_for(pilot, lambda: wanted in desk.calls)


async def test_what_this_stack_cannot_do_says_why_before_it_is_chosen():
    desk = FakeDesk()
    desk.impossible = {"crash-point": "the services have no crash points in this stack"}
    async with driving(desk=desk, size=(120, 34)) as (pilot, app, _, _):
        await to_the_fault(pilot, app, "crash-point")
        await wait_for(pilot, lambda: "not here: the services have no crash points" in screen_text(app))


def event(number, state, after_s, why=""):
    return StepEvent(number, state, NOW_S + after_s, why)


async def test_the_steps_of_a_scenario_tick_off_while_it_runs():
    desk = FakeDesk()
    desk.stuck = True
    desk.events = [event(0, StepState.RUNNING, 0), event(0, StepState.DONE, 3), event(1, StepState.RUNNING, 3)]
    async with driving(desk=desk, size=(120, 34)) as (pilot, app, _, _):
        await pilot.press("4", "exclamation_mark", "s")
        await dialog(pilot, app, Choose)
        app.screen.query_one(LineList).go_to("kill-dispatcher")
        await pilot.press("enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: "kill-dispatcher: 1 of" in screen_text(app))
        states = [row.state for row in app.query_one(StepList).board.rows]
        assert states[:3] == ["done", "running", "pending"]
        text = screen_text(app)
        assert "✓ done" in text
        assert "⟳ running" in text
        assert "3.0 s" in text
        desk.release.set()


async def test_the_steps_of_a_scenario_that_somebody_else_plays_are_shown_and_can_be_hidden():
    async with driving(ANOTHERS_SCENARIO) as (pilot, app, _, _):
        await pilot.press("4")
        await wait_for(pilot, lambda: "kill-two: 1 of 3 steps done" in screen_text(app))
        assert "12 s" in screen_text(app), "how long the one has taken that goes on"
        await pilot.press("L")
        await wait_for(pilot, lambda: "kill-two" not in screen_text(app))
        app.tick()
        await pilot.pause()
        assert "kill-two" not in screen_text(app)


async def test_the_steps_of_a_scenario_that_was_not_begun_are_not_replaced_by_those_of_an_earlier_one():
    desk = FakeDesk()
    async with driving(ANOTHERS_SCENARIO, desk=desk) as (pilot, app, _, _):
        await pilot.press("4")
        await wait_for(pilot, lambda: "kill-two: 1 of 3" in screen_text(app))
        desk.error = StackError("no stack")
        await pilot.press("exclamation_mark", "s")
        await dialog(pilot, app, Choose)
        await pilot.press("enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: app.jobs.all and app.jobs.all[-1].ended_at_s is not None)
        for _ in range(3):
            app.tick()
            await pilot.pause()
        steps = app.screen_stack[0].query_one(StepList)
        assert app.jobs.all[-1].command == f"scenario run {steps.board.name}"
        assert {row.state for row in steps.board.rows} == {"skipped"}


async def test_where_the_steps_hide_the_faults_enter_tells_the_steps_whole_and_applies_nothing():
    desk = FakeDesk()
    desk.events = [event(0, StepState.RUNNING, 0)]
    async with driving(desk=desk) as (pilot, app, _, _):
        await pilot.press("4", "exclamation_mark", "s")
        await dialog(pilot, app, Choose)
        await pilot.press("enter")
        await dialog(pilot, app, Ask)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: not app.query_one("#offers").display)
        await pilot.press("enter")
        await dialog(pilot, app, Page)
        assert "send the rest, heal, drain, give the verdict" in app.screen._text
        await pilot.press("escape", "L")
        await wait_for(pilot, lambda: app.query_one("#offers").display)


def test_after_a_step_that_failed_the_rest_is_skipped_and_the_closing_still_comes():
    board = StepBoard("x", ["a", "b", "c"])
    board.note(event(0, StepState.RUNNING, 0))
    board.note(event(0, StepState.FAILED, 1, "not within 60 s"))
    board.note(event(3, StepState.RUNNING, 1))
    assert [row.state for row in board.rows] == ["failed", "skipped", "skipped", "running"]
    board.end("no stack")
    assert [row.why for row in board.rows] == ["not within 60 s", "", "", "no stack"]
    assert board.rows[-1].state == "failed"
