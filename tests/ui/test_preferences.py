"""What a person chose and what is remembered: themes, colours, keys, and the view as it was left."""

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from control_room.tracking.listing import Order
from control_room.ui.commands import with_keys
from control_room.ui.dialogs import Page
from control_room.ui.memory import Memory, Remembered, memory_path
from control_room.ui.settings import read_settings
from control_room.ui.themes import THEMES
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import SIZES, driving, screen_text, wait_for
from tests.ui.moments import BROKER_DOWN, EMPTY


async def test_every_theme_draws_every_word_of_the_verdict():
    async with driving(BROKER_DOWN) as (pilot, app, _, _):
        for theme in THEMES:
            app.theme = theme
            await pilot.pause()
            app.draw()
            text = screen_text(app)
            assert "10/11 up" in text, theme
            assert "12408 accepted = " in text, theme
            assert "cannot be drawn" not in text, theme


async def test_the_high_contrast_theme_is_white_on_black():
    async with driving(theme="bruce-contrast") as (_, app, _, _):
        assert app.theme_variables["foreground"].lower() == "#ffffff"
        assert app.theme_variables["background"] == "#000000"


async def test_a_theme_that_is_chosen_is_shown_and_written(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("# mine\n", encoding="utf-8")
    async with driving(settings_file=path) as (pilot, app, _, _):
        await pilot.press("f9")
        await wait_for(pilot, lambda: "bruce-contrast" in screen_text(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.theme == "bruce-contrast")
        await wait_for(pilot, lambda: "bruce-control config set theme bruce-contrast" in screen_text(app))
        await wait_for(pilot, lambda: read_settings(path, {}).theme == "bruce-contrast")
    assert path.read_text(encoding="utf-8").startswith("# mine")


async def test_no_color_leaves_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with driving(BROKER_DOWN) as (_, app, _, _):
        assert "10/11 up" in screen_text(app)
        styles = [
            colour.get_truecolor()
            for strip in app.screen._compositor.render_strips()
            for segment in strip.apply_filter(app._filters[-1], app.screen.background_colors[1])
            if segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None
        ]
        assert styles
        assert all(red == green == blue for red, green, blue in styles)


async def test_a_setting_that_will_not_do_is_told_and_the_app_starts():
    sentence = "settings.toml: theme cannot be 'x'; allowed: nord; textual-dark is used"
    async with driving(EMPTY, (120, 34), problems=[sentence]) as (pilot, app, _, _):
        await wait_for(pilot, lambda: "theme cannot be 'x'" in screen_text(app))
        await pilot.press("A")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        assert sentence in app.screen._text


async def test_other_keys_move_in_lists_and_leave_dialogs():
    table = with_keys({"list_down": "down,t", "list_mark": "f6", "dialog_leave": "escape,n"})
    async with driving(BROKER_DOWN, table=table) as (pilot, app, _, _):
        members = app.query_one("#members", LineList)
        assert "f6 marks" in screen_text(app)
        await pilot.press("t", "f6", "j", "space")
        await wait_for(pilot, lambda: members.marked == {"kafka-1"})
        assert members.index == 2
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        await pilot.press("q")
        assert isinstance(app.screen, Page)
        await pilot.press("n")
        await wait_for(pilot, lambda: len(app.screen_stack) == 1)


async def test_other_keys_work_and_every_hint_names_them():
    table = with_keys({"up": "f2,f3", "help": "f1", "filter": "f4", "replay": "f5"})
    async with driving(EMPTY, table=table) as (pilot, app, _, desk):
        assert "f2   start the stack" in screen_text(app)
        assert " f1 help" in screen_text(app)
        await pilot.press("u", "question_mark")
        assert len(app.screen_stack) == 1
        await pilot.press("f3")
        await wait_for(pilot, lambda: desk.calls == [("up",)])
        await pilot.press("f1")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        assert "f2 f3" in app.screen._text


def remembers(path):
    return json.loads(path.read_bytes())


@pytest.mark.parametrize("size", SIZES)
async def test_view_order_and_filter_are_as_they_were_left(tmp_path, size):
    path = tmp_path / "rooms" / "one.json"
    memory = Memory(path)
    async with driving(size=SIZES[size], memory=memory) as (pilot, app, _, _):
        await pilot.press("2", "o", "slash")
        await wait_for(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one(Input).value = "state:open try>1"
        await pilot.press("enter")
        await wait_for(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("ctrl+q")  # left at once: what changed last is written all the same
    memory.settle(10)
    assert remembers(path)["view"] == "transactions"
    async with driving(size=SIZES[size], memory=Memory(path)) as (pilot, app, source, _):
        assert app.view_name == "transactions"
        assert source.asked[-1].order is Order.OLDEST_OPEN
        assert str(source.asked[-1].filter).endswith("try>1")
        await wait_for(pilot, lambda: "Transactions 2 " in screen_text(app))


async def test_a_change_is_written_while_the_app_goes_on(tmp_path):
    path = tmp_path / "one.json"
    async with driving(memory=Memory(path)) as (pilot, _, _, _):
        await pilot.press("7")
        await wait_for(pilot, lambda: path.exists() and remembers(path)["view"] == "logs")
        await pilot.press("1")
        await wait_for(pilot, lambda: remembers(path)["view"] == "stack")
    assert [each.name for each in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"view": "stack"}',
        b'{"view": "nowhere", "order": "", "filter": ""}',
        b'{"view": "logs", "order": "sideways", "filter": ""}',
        b'{"view": "logs", "order": "", "filter": "try>many"}',
    ],
)
async def test_a_broken_memory_is_ignored_with_a_note_and_replaced(tmp_path, content):
    path = tmp_path / "one.json"
    path.write_bytes(content)
    async with driving(size=(120, 34), memory=Memory(path)) as (pilot, app, _, _):
        assert app.view_name == "stack"
        assert "what was remembered is ignored" in screen_text(app)
        await pilot.press("3")
        kept = Remembered("kafka", "newest first", "")
        await wait_for(pilot, lambda: Memory(path).read() == (kept, ""))


async def test_a_memory_that_cannot_be_written_is_told_once_and_nothing_hangs(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    async with driving(size=(120, 34), memory=Memory(tmp_path / "file" / "one.json")) as (pilot, app, _, _):
        await pilot.press("3")
        await wait_for(pilot, lambda: "the view cannot be remembered" in screen_text(app))
        await pilot.press("4", "5")
        await pilot.pause(0.5)
        assert len([job for job in app.jobs.all if "cannot be remembered" in job.error]) == 1


def test_each_state_folder_has_a_memory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = memory_path(tmp_path / "a" / ".bruce"), memory_path(tmp_path / "b" / ".bruce")
    assert one != other
    assert one.is_relative_to(tmp_path / "bruce-control")
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert memory_path(Path(".bruce")) == one
