"""The view Reports: a run's curves, and its end."""

from array import array
from dataclasses import replace

from control_room.reports.curves import Axis, Curves
from control_room.tracking.parts import Part
from control_room.ui.dialogs import Ask, Page
from control_room.ui.run_curves import WIDTH, curve_lines, shortened
from control_room.verify import check
from tests.ui.driving import FakeDesk, driving, screen_text, wait_for
from tests.ui.moments import HEALTHY, run
from tests.unit.histories import History


async def test_a_run_is_deleted_after_a_question_that_says_what_is_lost_and_cancel_has_the_focus():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("6", "d")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        assert "never judged: nothing is" in screen_text(app)
        assert "files, 3.0 MiB" in screen_text(app)
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await wait_for(pilot, lambda: len(app.screen_stack) == 1)
        assert desk.calls == []
        await pilot.press("d")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: desk.calls == [("remove", run().path)])
        await wait_for(pilot, lambda: app.jobs.all[-1].command == f"runs rm {run().run_id} --yes")


async def test_marked_runs_are_deleted_together():
    runs = tuple(run(run_id=name, path=run().path.with_name(name)) for name in ("a-1", "b-1", "c-1"))
    async with driving(replace(HEALTHY, runs=Part(runs))) as (pilot, app, _, desk):
        await pilot.press("6", "space", "space", "d")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        assert "Delete 2 runs?" in screen_text(app)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: [call[1].name for call in desk.calls] == ["a-1", "b-1"])


async def test_a_run_that_is_opened_shows_its_curves(tmp_path):
    folder = History(tmp_path / "run").accepted_and_delivered(*range(1, 40)).write()
    desk = FakeDesk()
    desk.verdict = check(folder)
    async with driving(replace(HEALTHY, runs=Part((run(path=folder),))), desk=desk) as (pilot, app, _, _):
        await pilot.press("6", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        text = app.screen._text
        for name in ("PROVEN", "accepted/s", "delivered/s", "backlog"):
            assert name in text
        assert max(map(len, text.split("\n")[-5:])) <= 70
        assert "█" in text


def test_a_curve_is_as_wide_as_its_place_and_keeps_its_peak():
    values = [0.0] * 1800
    values[901] = 40.0
    shown = shortened(values, WIDTH, max)
    assert len(shown) == WIDTH
    assert max(shown) == 40.0
    assert shown.index(40.0) == WIDTH * 901 // 1800
    empty = Curves(Axis(0.0, 1.0), (), (), array("d"), (), (), ())
    assert len(curve_lines(empty, ())) == 5
