"""What the control room promises its operator: keys, questions, progress, errors, and always a way out."""

import time
from dataclasses import replace

import pytest
from textual.widgets import Button, Input

from control_room.tracking.listing import Order
from control_room.tracking.parts import Part
from control_room.ui.commands import TABLE, VIEWS, Command, command_for, commands_of, with_keys
from control_room.ui.dialogs import Ask, Page
from control_room.ui.views.kafka import KafkaView
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import FakeDesk, driving, screen_text, wait_for
from tests.ui.moments import BROKER_DOWN, EMPTY, HEALTHY, OPEN_ROWS, SAID


def test_no_key_means_two_things_in_one_view():
    assert with_keys({}) == TABLE
    with pytest.raises(ValueError, match="both"):
        with_keys({"kill": "s"})
    with pytest.raises(ValueError, match="no command"):
        with_keys({"nonsense": "a"})


def test_another_key_can_be_given_to_a_command():
    table = with_keys({"kill": "ctrl+k"})
    assert command_for("ctrl+k", "stack", table).id == "kill"
    assert command_for("K", "stack", table) is None


async def test_every_command_of_the_table_can_be_done():
    async with driving() as (_, app, _, _):
        for view in VIEWS:
            for command in commands_of(view):
                owner = app.query_one(f"#{view}") if command.view else app
                assert callable(getattr(owner, f"do_{command.id}")), command.id


async def test_every_command_stands_in_the_help_with_its_command_line():
    async with driving() as (pilot, app, _, _):
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        text = app.screen._text
        for command in TABLE:
            assert command.help in text
            assert command.cli in text


async def test_the_first_screen_says_what_to_press_and_the_key_starts_the_stack():
    async with driving(EMPTY) as (pilot, app, _, desk):
        assert "u   start the stack" in screen_text(app)
        assert "d   the demo" in screen_text(app)
        await pilot.press("u")
        await wait_for(pilot, lambda: desk.calls == [("up",)])
        await wait_for(pilot, lambda: "bruce-control up" in screen_text(app))


async def test_harm_is_previewed_and_asked_for_and_cancel_has_the_focus():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("j", "K")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        assert "leads 1 of 3 partitions, in-sync 3→2" in screen_text(app)
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await wait_for(pilot, lambda: not isinstance(app.screen, Ask))
        assert ("apply", "kill", ("kafka-1",), {}) not in desk.calls
        await pilot.press("K")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("apply", "kill", ("kafka-1",), {}) in desk.calls)


async def test_what_is_marked_is_hit_together():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("j", "space", "space", "K")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("apply", "kill", ("kafka-1", "kafka-2"), {}) in desk.calls)


async def test_chaos_does_nothing_before_it_is_armed():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("4", "enter", "m", "s", "w")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert desk.calls == []
        await pilot.press("exclamation_mark")
        assert "ARMED" in screen_text(app)


async def test_the_merchants_behaviour_is_checked_before_anything_is_asked():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("4", "exclamation_mark", "m")
        await wait_for(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one(Input).value = "mode=nonsense"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "there is no mode 'nonsense'" in screen_text(app))
        app.screen.query_one(Input).value = "mode=outage latency_ms=20"
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("right", "enter")
        wanted = ("apply", "merchant", ("merchant-server",), {"mode": "outage", "latency_ms": 20.0})
        await wait_for(pilot, lambda: wanted in desk.calls)


async def test_heal_works_from_everywhere():
    for view in range(1, 8):
        async with driving(BROKER_DOWN) as (pilot, _, _, desk):
            await pilot.press(str(view), "H")
            await wait_for(pilot, lambda calls=desk.calls: ("heal", None) in calls)


async def test_an_action_that_fails_is_told_with_its_command_line():
    desk = FakeDesk()
    desk.error = RuntimeError("port 5432 is taken; set POSTGRES_PORT to another one")
    async with driving(EMPTY, (120, 34), desk) as (pilot, app, _, _):
        await pilot.press("u")
        await wait_for(pilot, lambda: "port 5432 is taken" in screen_text(app))
        await pilot.press("A")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        assert "bruce-control up" in app.screen._text
        assert "set POSTGRES_PORT to another one" in app.screen._text


@pytest.mark.parametrize("way", ["q", "ctrl+q"])
async def test_quitting_takes_less_than_a_second_whatever_is_stuck(way):
    desk = FakeDesk()
    desk.stuck = True
    async with driving(EMPTY, desk=desk) as (pilot, app, _, _):
        await pilot.press("u")
        await wait_for(pilot, lambda: desk.calls == [("up",)])
        began = time.monotonic()
        await pilot.press(way)
        await wait_for(pilot, lambda: not app.is_running, 5)
        assert time.monotonic() - began < 1
    desk.release.set()


async def test_leaving_a_stack_that_runs_asks_what_becomes_of_it():
    async with driving(BROKER_DOWN) as (pilot, app, _, desk):
        await pilot.press("q")
        await wait_for(pilot, lambda: isinstance(app.screen, Ask))
        assert [button.id for button in app.screen.query(Button)] == [
            "cancel",
            "answer-leave",
            "answer-heal",
            "answer-down",
        ]
        await pilot.press("right", "right", "enter")
        await wait_for(pilot, lambda: not app.is_running)
        assert desk.calls == [("heal", None)]


async def test_read_only_changes_nothing():
    async with driving(read_only=True) as (pilot, app, _, desk):
        assert "read-only" in screen_text(app)
        for command in TABLE:
            if command.changes:
                app.view_name = command.view or "stack"
                app.do(command)
        await pilot.pause()
        assert desk.calls == []
        assert len(app.screen_stack) == 1


async def test_a_view_that_breaks_shows_its_error_and_the_others_go_on(monkeypatch):
    def broken(self, snapshot):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(KafkaView, "draw", broken)
    async with driving() as (pilot, app, _, _):
        await pilot.press("3")
        assert "this view cannot be drawn: ZeroDivisionError: a bug" in screen_text(app)
        await pilot.press("1")
        assert "postgres" in screen_text(app)


async def test_a_command_that_breaks_is_told_and_nothing_else_happens(monkeypatch):
    async with driving() as (pilot, app, _, _):
        app.do(Command("nonsense", "a", "nonsense", "Nothing does this."))
        await wait_for(pilot, lambda: "AttributeError" in screen_text(app))


async def test_a_terminal_that_is_too_small_is_told_so_and_one_that_grows_is_used():
    async with driving(size=(79, 24)) as (pilot, app, _, _):
        assert "needs 80x24; this terminal is 79x24" in screen_text(app)
        await pilot.resize_terminal(80, 24)
        await wait_for(pilot, lambda: "postgres" in screen_text(app))
        for size in ((160, 48), (60, 10), (120, 34), (80, 24)):
            await pilot.resize_terminal(*size)
        await wait_for(pilot, lambda: "postgres" in screen_text(app))


async def test_frozen_drawing_stays_as_it_is():
    async with driving() as (pilot, app, source, _):
        await pilot.press("F")
        source.now = BROKER_DOWN
        await pilot.pause(0.6)
        assert "11/11 up" in screen_text(app)
        await pilot.press("F")
        await wait_for(pilot, lambda: "10/11 up" in screen_text(app))


async def test_a_filter_is_checked_and_asked_of_the_source():
    async with driving() as (pilot, app, source, _):
        await pilot.press("2", "slash")
        await wait_for(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one(Input).value = "try>many"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "try is compared with a number" in screen_text(app))
        app.screen.query_one(Input).value = "state:open try>1"
        await pilot.press("enter")
        await wait_for(pilot, lambda: bool(source.asked))
        assert source.asked[-1].filter.states == frozenset({"outbox", "in-kafka", "retrying", "requeued"})
        await wait_for(pilot, lambda: "Transactions 2 " in screen_text(app))
        await pilot.press("o")
        assert source.asked[-1].order is Order.OLDEST_OPEN


async def test_the_story_of_the_selected_transaction_is_told_when_the_cursor_rests():
    async with driving() as (pilot, app, _, desk):
        await pilot.press("2", "j")
        await wait_for(pilot, lambda: ("story", OPEN_ROWS[1].transaction_id) in desk.calls)
        await wait_for(pilot, lambda: "500 in 41 ms" in screen_text(app))


async def test_a_log_line_leads_to_its_transaction():
    async with driving() as (pilot, app, _, _):
        await pilot.press("7", "enter")
        await wait_for(pilot, lambda: app.view_name == "transactions")
        found = app.query_one("#transactions-list", LineList)
        assert found.current.transaction_id == OPEN_ROWS[1].transaction_id


async def test_scrolling_up_in_the_logs_holds_and_f_follows_again():
    async with driving() as (pilot, app, _, _):
        await pilot.press("7")
        assert "following" in screen_text(app)
        await pilot.press("k", "k")
        await wait_for(pilot, lambda: "held: f follows" in screen_text(app))
        assert "120 older lines dropped" in screen_text(app)
        await pilot.press("f")
        await wait_for(pilot, lambda: "following" in screen_text(app))


async def test_a_wide_terminal_shows_list_timeline_logs_and_activity_at_once():
    async with driving(BROKER_DOWN, (160, 48)) as (pilot, app, _, _):
        await pilot.press("2")
        shown = ("Transactions 43", "accepted by ingestion-api-2", "Logs of all members", "a fatal client error")
        await wait_for(pilot, lambda: all(words in screen_text(app) for words in (*shown, "Activity", SAID)))
        await pilot.press("7", "v", "v", "v", "2")
        await wait_for(pilot, lambda: "from error on" in screen_text(app))
        assert "Consumer paused" not in screen_text(app)
        await pilot.press("z")
        await wait_for(pilot, lambda: "Logs of all members" not in screen_text(app))


async def test_a_broker_whose_process_is_gone_is_not_shown_as_alive_because_kafka_counts_it_still():
    async with driving(replace(BROKER_DOWN, kafka=HEALTHY.kafka), (160, 48)) as (pilot, app, _, _):
        await pilot.press("3")
        await wait_for(pilot, lambda: "kafka-2 ✗ down, Kafka counts it still, leads 1" in screen_text(app))
        assert "kafka-1 ● leads 1" in screen_text(app)


async def test_a_list_that_waits_for_its_turn_in_a_rush_says_how_many_it_has_not_read():
    behind = replace(HEALTHY, transactions=Part(replace(HEALTHY.transactions.value, unread=12_300)))
    async with driving(behind, (80, 24)) as (pilot, app, _, _):
        await pilot.press("2")
        await wait_for(pilot, lambda: "Transactions 43 · 12,300 not read yet · state:any" in screen_text(app))


async def test_the_palette_offers_the_commands_of_the_view():
    async with driving(BROKER_DOWN, (120, 34)) as (pilot, app, _, desk):
        await pilot.press("colon")
        await wait_for(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one(Input).value = "heal all"
        await wait_for(pilot, lambda: "Undo every open fault." in screen_text(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: ("heal", None) in desk.calls)


async def test_a_click_chooses_a_tab_a_key_and_a_row():
    async with driving() as (pilot, app, _, _):
        await pilot.click("#tabs", offset=(12, 0))
        await wait_for(pilot, lambda: app.view_name == "transactions")
        await pilot.click("#tabs", offset=(2, 0))
        await wait_for(pilot, lambda: app.view_name == "stack")
        await pilot.click("#members", offset=(5, 4))
        await wait_for(pilot, lambda: app.query_one("#members", LineList).index == 2)
        await pilot.click("#keys", offset=(2, 0))
        await wait_for(pilot, lambda: isinstance(app.screen, Page))


async def test_the_run_under_the_cursor_is_exported():
    async with driving(HEALTHY) as (pilot, app, _, desk):
        await pilot.press("6", "e")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        assert "report.html" in app.screen._text
        assert desk.calls[-1][0] == "export"
