"""The view of the logs: whose lines, from which level on, what is searched for, and that it is remembered."""

from dataclasses import replace

import pytest
from textual.widgets import Input

from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.parts import Part
from control_room.ui.dialogs import ChooseSome, Prompt
from control_room.ui.log_search import TooSlowError, search_for
from control_room.ui.memory import Memory
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import driving, screen_text, wait_for
from tests.ui.moments import HEALTHY

LINES = replace(
    HEALTHY,
    logs=Part(
        LogView(
            tuple(
                LogLine(member, f"2026-11-26T09:35:{number:02d}.000Z", "info", text, text)
                for number, (member, text) in enumerate(
                    [("dispatcher", "attempt=2/3"), ("kafka-1", "attempt=12/3"), ("nginx", "a" * 60 + "!")]
                )
            ),
            0,
        )
    ),
)
SLOW = "(a|a|a)+$"


async def search(pilot, app, text):
    await pilot.press("slash")
    await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
    app.screen.query_one(Input).value = text
    await pilot.press("enter")


def at_cursor(app):
    return app.query_one("#log-lines", LineList).current[1]


async def test_members_are_chosen_by_marking_and_come_back_with_the_level(tmp_path):
    path = tmp_path / "one.json"
    memory = Memory(path)
    async with driving(memory=memory) as (pilot, app, _, _):
        await pilot.press("7", "v", "v", "m")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseSome))
        await pilot.press("j", "j", "space", "space", "enter")
        await wait_for(pilot, lambda: "Logs of kafka-1, kafka-2 · from warning on" in screen_text(app))
        await pilot.press("ctrl+q")
    memory.settle(10)
    async with driving(memory=Memory(path)) as (pilot, app, _, _):
        await wait_for(pilot, lambda: "Logs of kafka-1, kafka-2 · from warning on" in screen_text(app))
        await pilot.press("m")
        await wait_for(pilot, lambda: isinstance(app.screen, ChooseSome))
        assert app.screen.query_one(LineList).marked == {"kafka-1", "kafka-2"}
        await pilot.press("space", "enter")
        await wait_for(pilot, lambda: "Logs of all members" in screen_text(app))


@pytest.mark.parametrize("extra", ['"log_level": "loud"', '"log_members": ["nobody"]', '"log_members": 3'])
def test_a_memory_of_logs_that_cannot_be_is_ignored(tmp_path, extra):
    path = tmp_path / "one.json"
    path.write_text(f'{{"view": "logs", "order": "", "filter": "", {extra}}}', encoding="utf-8")
    found, note = Memory(path).read()
    assert found.view == ""
    assert "is ignored" in note


async def test_what_was_remembered_before_there_were_logs_in_it_is_still_read(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"view": "logs", "order": "", "filter": ""}', encoding="utf-8")
    assert Memory(path).read()[0].view == "logs"


async def test_a_search_can_be_a_regular_expression():
    async with driving(LINES) as (pilot, app, _, _):
        await pilot.press("7")
        await search(pilot, app, r"attempt=\d/")
        await wait_for(pilot, lambda: "no earlier line has it" in screen_text(app))
        await pilot.press("x")
        await search(pilot, app, r"attempt=\d/")
        await wait_for(pilot, lambda: at_cursor(app).member == "dispatcher")
        assert r"/attempt=\d/" in screen_text(app)


async def test_what_is_no_regular_expression_is_told_in_a_sentence():
    async with driving(LINES) as (pilot, app, _, _):
        await pilot.press("7", "x")
        await search(pilot, app, "attempt=(")
        await wait_for(pilot, lambda: "is no regular expression: missing )" in screen_text(app))
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(app.screen_stack) == 1)


async def test_an_expression_that_would_take_for_ever_is_given_up_with_a_sentence():
    with pytest.raises(TooSlowError):
        search_for(SLOW, is_pattern=True).finds("a" * 60 + "!")
    async with driving(LINES, (120, 34)) as (pilot, app, _, _):
        await pilot.press("7", "x")
        await search(pilot, app, SLOW)
        await wait_for(pilot, lambda: "takes too long" in screen_text(app))
        assert "Logs of all members · from all on ─" in screen_text(app)
