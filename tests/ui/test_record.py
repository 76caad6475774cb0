"""A run that is over shows any moment of itself in the views of the control room, and lets nobody change it."""

import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from control_room.runs.opened import LOUD_ALONE, NO_RECORD, OpenedRun
from control_room.ui.commands import TABLE, VIEWS, commands_of, with_keys
from control_room.ui.dialogs import Page, Prompt
from control_room.ui.record_commands import POINTLESS, RECORD_TABLE, SLIDER
from control_room.ui.record_room import RecordRoom, moment_of
from control_room.ui.views import transactions
from control_room.ui.views.transactions import TransactionsView
from control_room.ui.widget_commands import WIDGETS
from control_room.ui.widgets.chrome import clock
from control_room.ui.widgets.slider import Slider
from tests.ui.driving import SIZES, screen_text, wait_for
from tests.ui.moments import NOW_S
from tests.ui.records import DOWN, PAYMENTS, RUN, SECONDS, made, tid, total_at

SCREENS = Path(__file__).parent / "screens"


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@asynccontextmanager
async def opened(tmp_path, size=(80, 24), table=TABLE, **kind):
    run = OpenedRun(made(tmp_path, **kind))
    run.start()
    app = RecordRoom(run, table=table)
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.complete and run.ready and listed(app) is not None, 60)
        yield pilot, app, run


def listed(app):
    """The list of transactions as of the moment, once it has been made."""
    made_at = app.opened._listed
    return made_at.listing if made_at is not None and made_at.moment_s == app.opened.moment_s else None


def second_of(app):
    return app.opened.moment_s - NOW_S


async def to(pilot, app, second):
    app.go(NOW_S + second)
    await wait_for(pilot, lambda: listed(app) is not None)
    app.go(NOW_S + second)
    app.tick()
    app.draw()
    await pilot.pause()


def verdict_line(app):
    return "\n".join(screen_text(app).split("\n")[1:3])


async def test_every_moment_shows_its_own_arithmetic_and_says_that_it_is_a_record(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        for second in (0, 5, DOWN.start, SECONDS - 1):
            await to(pilot, app, second)
            assert total_at(second).line() in verdict_line(app)
            assert f"RECORD {clock(NOW_S + second)}" in verdict_line(app)
            assert clock(NOW_S + second) in screen_text(app).split("\n")[0]


async def test_the_last_moment_gives_the_verdict(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await pilot.press("end")
        await wait_for(pilot, lambda: "✓ PROVEN: nothing was lost" in verdict_line(app))
        await pilot.press("left")
        await wait_for(pilot, lambda: "✓ no loss so far" in verdict_line(app))


async def test_the_keys_move_in_time_whatever_has_the_focus(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        for view in range(1, len(VIEWS) + 1):
            await pilot.press("home", str(view))
            for key, second in (("right", 1), ("shift+right", 11), ("left", 10), ("shift+left", 0), ("end", SECONDS)):
                await pilot.press(key)
                assert second_of(app) == pytest.approx(second), (view, key)


async def test_a_time_that_is_typed_is_gone_to_and_a_wrong_one_is_explained(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await pilot.press("t")
        await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
        box = app.screen.query_one(Input)
        for text, says in (("noon", "write it as 12:03:11"), ("00:00:00", "is not in it")):
            box.value = text
            await pilot.press("enter")
            await wait_for(pilot, lambda says=says: says in screen_text(app))
        box.value = "x"
        await pilot.press("end", "left", "home", "space")  # the box's keys now, not the slider's
        assert box.value == " x"
        box.value = clock(NOW_S + 11)
        await pilot.press("enter")
        await wait_for(pilot, lambda: second_of(app) == 11)


def test_a_time_of_day_is_found_across_midnight():
    begins_s, ends_s = 86_400 * 20_000 - 60.5, 86_400 * 20_000 + 60.0
    assert moment_of("23:59:30", begins_s, ends_s) == 86_400 * 20_000 - 30
    assert moment_of("00:00:30", begins_s, ends_s) == 86_400 * 20_000 + 30
    assert moment_of("23:58:59", begins_s, ends_s) == begins_s
    assert moment_of("00:01", begins_s, ends_s) == ends_s
    for text in ("00:01:01", "12:00:00", "24:00:00", ""):
        with pytest.raises(ValueError, match=r"12:03:11|is not in it"):
            moment_of(text, begins_s, ends_s)


async def test_time_runs_at_the_speed_that_is_chosen_and_ends_with_the_run(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await pilot.press("X")
        assert "10x" in screen_text(app)
        began_s = time.monotonic()
        await pilot.press("space")
        await wait_for(pilot, lambda: second_of(app) >= 5)
        assert second_of(app) <= 10 * (time.monotonic() - began_s) + 0.01
        await pilot.press("space")
        halted = second_of(app)
        await wait_for(pilot, lambda: "⏸" in screen_text(app))
        app.tick()
        assert second_of(app) == halted
        await to(pilot, app, SECONDS - 1)
        await pilot.press("space")
        await wait_for(pilot, lambda: not app.playing)
        assert second_of(app) == SECONDS
        await pilot.press("space")
        assert second_of(app) < SECONDS


async def test_faults_are_marked_on_the_slider_and_gone_to_by_key(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await to(pilot, app, 0)
        line = slider_text(app)
        assert line.index("●") < line.index("!") < line.index("✓")
        await pilot.press("greater_than_sign")
        assert second_of(app) == DOWN.start
        await wait_for(pilot, lambda: "1 fault open" in screen_text(app))
        await pilot.press("greater_than_sign")
        assert second_of(app) == DOWN.stop
        await pilot.press("greater_than_sign")
        await wait_for(pilot, lambda: "no later fault or heal" in screen_text(app))
        await pilot.press("less_than_sign")
        assert second_of(app) == DOWN.start


def slider_text(app):
    return screen_text(app).split("\n")[app.query_one(Slider).region.y]


async def test_a_click_on_the_slider_goes_there(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await to(pilot, app, 0)
        line = slider_text(app)
        await pilot.click(Slider, offset=(line.index("!"), 0))
        assert second_of(app) == pytest.approx(DOWN.start, abs=SECONDS / 40)
        await pilot.click(Slider, offset=(line.rindex("─"), 0))
        assert second_of(app) == SECONDS


async def test_what_changes_anything_is_off_and_says_why(tmp_path):
    async with opened(tmp_path) as (pilot, app, run):
        before = {path: path.read_bytes() for path in run.run_dir.iterdir()}
        changing = [each for each in RECORD_TABLE if each.changes or each.id in POINTLESS]
        assert {"up", "kill", "apply", "heal", "verify", "replay_start", "storm"} <= {each.id for each in changing}
        for command in changing:
            app.clear_notifications()
            app.do(command)
            await wait_for(pilot, lambda: [RUN in each.message for each in app._notifications] == [True])
            assert command not in app.commands()
        await wait_for(pilot, lambda: "its record cannot be" in screen_text(app))
        assert app.jobs.all == []
    assert {path: path.read_bytes() for path in run.run_dir.iterdir()} == before


async def test_every_command_that_is_offered_can_be_done(tmp_path):
    async with opened(tmp_path) as (_, app, _):
        for view in VIEWS:
            for command in commands_of(view, RECORD_TABLE):
                if not app.refusal(command):
                    owner = app.query_one(f"#{view}") if command.view else app
                    assert callable(getattr(owner, f"do_{command.id}")), command.id


def test_no_key_of_the_slider_means_something_else_already():
    # Of what moves in lists, space, home and end give way to the slider; j, k, g and G do not.
    keys = {each.key for each in RECORD_TABLE if each not in SLIDER and each.view not in WIDGETS}
    assert not keys & {each.key for each in SLIDER}


async def test_a_record_has_the_keys_of_the_keymap(tmp_path):
    async with opened(tmp_path, table=with_keys({"view_kafka": "f7"})) as (pilot, app, _):
        await pilot.press("f7")
        await wait_for(pilot, lambda: app.view_name == "kafka")
        await pilot.press("home")
        assert second_of(app) == 0
        assert app.jobs.all == []


async def test_a_keymap_that_takes_a_key_of_the_slider_is_told_and_changes_none(tmp_path):
    table = with_keys({"view_kafka": "f7", "help": "t"})
    async with opened(tmp_path, table=table) as (pilot, app, _):
        [told] = app.jobs.all
        assert told.error.startswith("key t of help is moment here: the keys are the default ones")
        await pilot.press("f7")
        await pilot.press("3")
        await wait_for(pilot, lambda: app.view_name == "kafka")
        await pilot.press("t")
        await wait_for(pilot, lambda: isinstance(app.screen, Prompt))


async def test_the_transactions_stand_as_they_stood_and_can_be_filtered(tmp_path):
    async with opened(tmp_path) as (pilot, app, run):
        await pilot.press("2")
        await to(pilot, app, 10.7)
        states = [row.state for row in app.snapshot.transactions.value.rows]
        assert states == ["retrying", "retrying", *["delivered"] * 9]
        await to(pilot, app, 10.2)
        assert app.snapshot.transactions.value.rows[0].state == "accepted"
        await pilot.press("slash")
        await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
        app.screen.query_one(Input).value = "state:outbox,retrying"
        await pilot.press("enter")
        await wait_for(pilot, lambda: [row.state for row in run.snapshot().transactions.value.rows] == states_open)


states_open = ["accepted", "retrying"]


def told(app):
    """What happened in the story that is shown; nothing before it was read."""
    story = app.query_one(TransactionsView)._story
    return [event.kind for event in story.events] if story is not None else []


async def test_the_story_of_one_ends_at_the_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(transactions, "STORY_AFTER_S", 0.0)
    async with opened(tmp_path, (120, 34)) as (pilot, app, _):
        await pilot.press("2")
        await to(pilot, app, 5.6)
        app.query_one(TransactionsView).jump(tid(4))
        await wait_for(pilot, lambda: told(app) == ["sent", "answered", "accepted", "attempt", "ledger"])
        await pilot.press("right", "right")
        await wait_for(pilot, lambda: told(app)[5:] == ["attempt", "ledger", "delivered"])
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        text = app.screen._text
        assert [word in text for word in ("sent", "201 by ingestion-api-2", "500 in 10 ms", "delivered")] == [True] * 4


async def test_a_run_without_a_record_tells_what_its_other_files_tell(tmp_path):
    async with opened(tmp_path, record=False) as (pilot, app, run):
        assert run.note == NO_RECORD
        await to(pilot, app, DOWN.start + 1)
        assert "retrying" in verdict_line(app)
        assert "1 fault open" in screen_text(app)
        for number in ("1", "3", "7"):
            await pilot.press(number)
            await wait_for(pilot, lambda: "no tracking record" in screen_text(app))
        assert len(app.snapshot.transactions.value.rows) == DOWN.start + 1
        await pilot.press("end")
        await wait_for(pilot, lambda: "✓ PROVEN" in verdict_line(app))
        assert total_at(SECONDS).accepted == PAYMENTS


async def test_a_run_that_was_never_verified_opens_and_says_so(tmp_path):
    async with opened(tmp_path, verified=False) as (pilot, app, _):
        await pilot.press("2")
        await to(pilot, app, 5)
        assert {row.state for row in app.snapshot.transactions.value.rows} == {"accepted"}
        await wait_for(pilot, lambda: "was not verified" in screen_text(app))


async def test_the_logs_say_that_only_what_was_loud_was_kept(tmp_path):
    async with opened(tmp_path) as (pilot, app, _):
        await pilot.press("7")
        await wait_for(pilot, lambda: LOUD_ALONE in screen_text(app))
        assert "a fatal client error" in screen_text(app)
        assert "Retrying webhook" not in screen_text(app)


async def test_a_folder_that_is_no_run_says_so_and_can_be_left(tmp_path):
    (tmp_path / "run.json").write_text("nonsense")
    run = OpenedRun(tmp_path)
    run.start()
    app = RecordRoom(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "cannot be opened" in screen_text(app))
        await pilot.press("left", "space", "q")
    assert app.return_value == 0


@pytest.mark.parametrize("size", SIZES)
async def test_a_record_looks_as_it_was_looked_at(tmp_path, monkeypatch, size):
    monkeypatch.setattr(transactions, "STORY_AFTER_S", 1e9)
    async with opened(tmp_path, SIZES[size]) as (pilot, app, _):
        for view in ("stack", "transactions", "replay"):
            await pilot.press(str(list(VIEWS).index(view) + 1))
            await to(pilot, app, 10.6)
            text = screen_text(app).replace(str(tmp_path), "/state")
            kept = SCREENS / f"record-{view}-{size}.txt"
            if os.environ.get("UPDATE_SCREENS"):
                kept.write_text(text + "\n", encoding="utf-8")
            assert text + "\n" == kept.read_text(encoding="utf-8"), kept.name
