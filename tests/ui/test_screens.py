"""What views show in the states that matter, at three sizes, as text. UPDATE_SCREENS=1 in the environment redraws."""

import os
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from control_room.tracking.steps import StepBoard, StepEvent, StepState
from control_room.ui.commands import VIEWS
from control_room.ui.views import transactions
from control_room.ui.widgets.step_list import StepList
from tests.ui.driving import SIZES, driving, screen_text, wait_for
from tests.ui.hostile import HOSTILE_EVERYWHERE
from tests.ui.moments import MOMENTS, NOW_S

SCREENS = Path(__file__).parent / "screens"
SHOWN = {
    "empty": ["stack", "transactions", "replay", "reports"],
    "starting": ["stack"],
    "healthy": list(VIEWS),
    "broker-down": ["stack", "kafka", "chaos"],
    "paused": ["transactions", "kafka"],
    "unaccounted": ["transactions"],
    "lost": ["transactions", "reports"],
    "unknown": ["transactions", "kafka"],
}
"""The views that each state matters to."""


@pytest.fixture(autouse=True)
def still_clock(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW_S)
    # A story is read when the cursor has rested: how soon that is depends on the machine.
    monkeypatch.setattr(transactions, "STORY_AFTER_S", 1e9)
    yield
    monkeypatch.undo()
    time.tzset()


async def drawn(moment, size, views):
    """The screen of each of `views`."""
    found = {}
    async with driving(moment, SIZES[size]) as (pilot, app, _, _):
        for view in views:
            await pilot.press(str(list(VIEWS).index(view) + 1))
            await pilot.pause()
            app.draw()
            await pilot.pause()
            found[view] = screen_text(app)
    return found


def compare(name, size, text):
    """With the kept screen; where asked for, keeps this one."""
    kept = SCREENS / f"{name}-{size}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        kept.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == kept.read_text(encoding="utf-8"), kept.name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", SHOWN)
async def test_views_look_as_they_were_looked_at(state, size):
    for view, text in (await drawn(MOMENTS[state], size, SHOWN[state])).items():
        compare(f"{view}-{state}", size, text)


@pytest.mark.parametrize("size", SIZES)
async def test_a_scenario_looks_as_it_was_looked_at(size):
    board = StepBoard("kill-two", ["at 25% accepted: kill kafka-2", "after 4 s: heal all", "expect delivered >= 10"])
    board.note(StepEvent(0, StepState.RUNNING, NOW_S - 20))
    board.note(StepEvent(0, StepState.DONE, NOW_S - 12))
    board.note(StepEvent(1, StepState.RUNNING, NOW_S - 12))
    async with driving(MOMENTS["broker-down"], SIZES[size]) as (pilot, app, _, _):
        await pilot.press("4")
        app.query_one(StepList).board = board
        app.view.add_class("-steps")
        app.view.focus_content()
        app.draw()
        await pilot.pause()
        compare("chaos-scenario", size, screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_text_from_outside_steers_nothing_and_breaks_no_line(size):
    width, height = SIZES[size]
    for view, text in (await drawn(HOSTILE_EVERYWHERE, size, VIEWS)).items():
        lines = text.split("\n")
        assert len(lines) == height
        assert max(cell_len(line) for line in lines) <= width
        wild = [char for char in text if char != "\n" and not char.isprintable()]
        assert wild == [], view
        assert "cannot be drawn" not in text, view
        assert "[bold red]" in text, view


SAYS = {
    "healthy": "✓ no loss so far",
    "paused": "… catching up",
    "unaccounted": "! unaccounted 3 for 6 s",
    "lost": "✗ LOST 2",
    "unknown": "? unknown: postgres silent for 4 s",
    "empty": "? unknown: no stack is up",
}


@pytest.mark.parametrize("size", SIZES)
async def test_the_verdict_line_is_there_in_every_view_at_every_size(size):
    async with driving(size=SIZES[size]) as (pilot, app, source, _):
        for state, says in SAYS.items():
            source.now = MOMENTS[state]
            for number in range(1, len(VIEWS) + 1):
                await pilot.press(str(number))
                await wait_for(pilot, lambda says=says: says in screen_text(app).split("\n")[1])
