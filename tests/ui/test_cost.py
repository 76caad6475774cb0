"""What the screen does not do: draw what says the same as before, or hold up the keys for a long list."""

import csv
import io
from dataclasses import replace

from control_room.tracking.held import HeldTransactions
from control_room.tracking.listing import Listing, Order, Query
from control_room.tracking.parts import Part
from control_room.ui import resting
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import driving, screen_text, wait_for
from tests.ui.moments import BROKER_DOWN, HEALTHY, NOW_S, OPEN_ROWS, transaction


def packed(rows, query=None):
    held = HeldTransactions(1000)
    for row in rows:
        held.put(row)
    query = query or Query()
    return Listing(query, held.arranged(query, NOW_S), len(held), held.open_count, held.oldest_open(NOW_S))


def showing(listing):
    return replace(HEALTHY, number=2, transactions=Part(listing))


async def test_a_list_draws_only_the_lines_that_say_something_else(monkeypatch):
    async with driving() as (pilot, app, _, _):
        await pilot.press("2")
        found = app.query_one("#transactions-list", LineList)
        await wait_for(pilot, lambda: "00000032" in screen_text(app))
        drawn = []
        monkeypatch.setattr(found, "refresh", lambda *regions, **_: drawn.extend(region.y for region in regions))
        found.show(tuple(found.rows))
        assert drawn == []
        found.show((*found.rows[:3], found.rows[3]._replace(state="dead"), *found.rows[4:]))
        assert drawn == [4]


async def test_a_list_that_grows_lays_out_nothing_and_can_be_scrolled_to_its_end(monkeypatch):
    rows = tuple(transaction(number) for number in range(60))
    more = (*rows, *(transaction(number) for number in range(60, 90)))
    async with driving(showing(Listing(Query(), rows))) as (pilot, app, source, _):
        await pilot.press("2")
        found = app.query_one("#transactions-list", LineList)
        await wait_for(pilot, lambda: found.show_vertical_scrollbar and found.virtual_size.width == found.size.width)
        laid_out = []
        monkeypatch.setattr(found, "refresh", lambda *regions, layout=False, **_: laid_out.append(layout))
        found.show(more)
        assert True not in laid_out
        monkeypatch.undo()
        assert found.vertical_scrollbar.window_virtual_size == 91
        source.now = showing(Listing(Query(), more))
        await wait_for(pilot, lambda: found.rows is more)
        await pilot.press("G")
        await wait_for(pilot, lambda: "00000059" in screen_text(app))


async def test_a_screen_that_took_more_than_its_share_rests_and_a_key_is_answered_all_the_same(monkeypatch):
    monkeypatch.setattr(resting, "DRAWING_OF_CORE", 1e-9)
    monkeypatch.setattr(resting, "LONGEST_REST_S", 3600.0)
    async with driving() as (pilot, app, source, _):
        before = screen_text(app)
        source.now = replace(BROKER_DOWN, number=99)
        await wait_for(pilot, lambda: app.snapshot is source.now)
        assert screen_text(app) == before, "it is taken, and not drawn"
        await pilot.press("3")
        await wait_for(pilot, lambda: "✗2" in screen_text(app))


async def test_nothing_that_is_hidden_moves_by_itself():
    async with driving() as (_, app, _, _):
        assert [each for each in app.query("*") if each.auto_refresh] == []


async def test_a_title_that_is_set_again_is_not_drawn_again(monkeypatch):
    async with driving() as (_, app, _, _):
        found = app.query_one("#members", LineList)
        drawn = []
        monkeypatch.setattr(found, "refresh", lambda *regions, **_: drawn.append(regions))
        for title in ("one", "one", "two"):
            found.border_title = title
        assert len(drawn) == 2
        assert found.border_title == "two"


async def test_packed_rows_are_drawn_held_found_and_marked_like_any_other():
    rows = [transaction(number) for number in range(50, 90)]
    async with driving(showing(packed(rows))) as (pilot, app, source, _):
        await pilot.press("2", "j", "space", "f")
        found = app.query_one("#transactions-list", LineList)
        marked = rows[1].transaction_id
        assert [row.transaction_id for row in found.chosen] == [marked]
        source.now = showing(packed([*OPEN_ROWS, *rows]))
        await wait_for(pilot, lambda: "HELD, 3 new" in screen_text(app))
        assert len(found.rows) == len(rows)
        await pilot.press("f")
        await wait_for(pilot, lambda: len(found.rows) == len(rows) + 3)
        assert [row.transaction_id for row in found.chosen] == [marked]
        app.query_one("#transactions").jump(rows[30].transaction_id[:8])
        await wait_for(pilot, lambda: found.current.transaction_id == rows[30].transaction_id)


async def test_one_that_is_not_listed_stands_in_front_when_it_was_looked_up():
    async with driving(showing(packed(OPEN_ROWS))) as (pilot, app, _, desk):
        await pilot.press("2")
        sought = HEALTHY.transactions.value.rows[-1].transaction_id
        app.query_one("#transactions").jump(sought[:8])
        await wait_for(pilot, lambda: ("find", sought[:8]) in desk.calls)
        found = app.query_one("#transactions-list", LineList)
        await wait_for(pilot, lambda: len(found.rows) == len(OPEN_ROWS) + 1)
        assert found.current.transaction_id == sought


async def test_what_the_list_shows_is_written_whole_and_in_its_order(monkeypatch):
    listing = packed([transaction(number) for number in range(50, 90)], Query(order=Order.OLDEST_OPEN))
    async with driving(showing(listing)) as (pilot, app, _, _):
        written = {}
        monkeypatch.setattr(app, "deliver_text", lambda text, save_filename: written.update({save_filename: text}))
        await pilot.press("2", "e")
        await wait_for(pilot, lambda: "transactions.csv" in written)
        told = list(csv.DictReader(io.StringIO(written["transactions.csv"].getvalue())))
        shown = app.query_one("#transactions-list", LineList).rows
        assert [line["transaction_id"] for line in told] == [row.transaction_id for row in shown]
        assert len(told) == 40
