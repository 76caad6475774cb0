"""Redelivering from the view Transactions: with a count, a reason and a question; never what is still on its way."""

import threading
from dataclasses import replace

import pytest
from textual.widgets import Input

from control_room.tracking.listing import Listing, Query
from control_room.tracking.parts import Part
from control_room.ui.dialogs import Ask, Page, Prompt
from control_room.ui.views import transactions
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import SECRET, SIZES, driving, screen_text, wait_for
from tests.ui.moments import HEALTHY, transaction

DONE = (transaction(1, state="delivered"), transaction(2, state="delivered"), transaction(3, state="dead"))
ON_THE_WAY = transaction(4, state="retrying")
LISTED = replace(HEALTHY, transactions=Part(Listing(Query(), (*DONE, ON_THE_WAY), 4, 1, ON_THE_WAY)))
IDS = tuple(row.transaction_id for row in DONE)


def said(app):
    """What was told in notices. They are private to the app; on the screen they are broken into lines."""
    return " ".join(str(notice.message) for notice in app._notifications)


async def to_the_question(pilot, app, key, reason="asked"):
    await pilot.press(key)
    await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
    app.screen.query_one(Input).value = reason
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(app.screen, Ask))


async def test_the_selected_one_is_redelivered_after_a_question_in_which_cancel_has_the_focus():
    async with driving(LISTED, view="transactions") as (pilot, app, _, desk):
        await to_the_question(pilot, app, "R")
        assert "Redeliver 1 transaction?" in screen_text(app)
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await wait_for(pilot, lambda: not isinstance(app.screen, Ask))
        assert not [call for call in desk.calls if call[0] == "redeliver"]
        await to_the_question(pilot, app, "R")
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("redeliver", IDS[:1], "asked") in desk.calls)
        command = app.jobs.all[-1].command
        assert command == f"redeliver {IDS[0]} --reason asked --yes"


async def test_the_marked_ones_are_redelivered_together_and_lose_their_marks():
    async with driving(LISTED, view="transactions") as (pilot, app, _, desk):
        await pilot.press("space", "j", "space")
        await to_the_question(pilot, app, "R", "")
        assert "Redeliver 2 transactions?" in screen_text(app)
        assert "1 delivered, 1 dead-lettered" in screen_text(app)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("redeliver", (IDS[0], IDS[2]), "") in desk.calls)
        assert app.query_one("#transactions-list", LineList).marked == set()


@pytest.mark.parametrize("size", SIZES)
async def test_all_that_the_filter_shows_are_counted_and_what_is_on_its_way_is_left_alone(size):
    async with driving(LISTED, SIZES[size], view="transactions") as (pilot, app, _, desk):
        await to_the_question(pilot, app, "ctrl+r")
        text = screen_text(app)
        assert "Redeliver 3 transactions?" in text
        assert "Left alone, for still on the way: 1." in text
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("redeliver", IDS, "asked") in desk.calls)


async def test_a_long_list_is_gone_through_beside_the_screen_and_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(transactions, "ARRANGED_HERE", 3)
    gate, looked = threading.Event(), transactions.askable

    def askable(rows, show):
        gate.wait(10)
        return looked(rows, show)

    monkeypatch.setattr(transactions, "askable", askable)
    async with driving(LISTED, view="transactions") as (pilot, app, _, desk):
        await pilot.press("ctrl+r", "j")
        assert app.jobs.all[-1].title == "look at 4 transactions"
        assert app.query_one("#transactions-list", LineList).index == 1, "keys are answered meanwhile"
        app.jobs.all[-1].cancel()
        gate.set()
        await wait_for(pilot, lambda: app.jobs.all[-1].state == "cancelled")
        await to_the_question(pilot, app, "ctrl+r")
        assert "Redeliver 3 transactions?" in screen_text(app)
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: ("redeliver", IDS, "asked") in desk.calls)


async def test_one_that_is_on_its_way_is_refused_with_a_sentence():
    async with driving(LISTED, view="transactions") as (pilot, app, _, desk):
        await pilot.press("G", "R")
        await wait_for(pilot, lambda: "still on its way" in said(app))
        assert not [call for call in desk.calls if call[0] == "redeliver"]


async def test_who_only_reads_redelivers_nothing():
    async with driving(LISTED, view="transactions", read_only=True) as (pilot, app, _, desk):
        await pilot.press("R", "ctrl+r")
        await wait_for(pilot, lambda: "this control room only reads" in said(app))
        assert not isinstance(app.screen, Prompt)
        assert not [call for call in desk.calls if call[0] == "redeliver"]


async def test_a_refusal_is_shown_with_its_reason():
    async with driving(LISTED, view="transactions") as (pilot, app, _, desk):
        desk.error = RuntimeError("nothing was redelivered: it is being redelivered already")
        await to_the_question(pilot, app, "R")
        await pilot.press("right", "enter")
        await wait_for(pilot, lambda: "is being redelivered already" in said(app))


async def test_the_whole_story_ends_with_the_payload_and_its_signatures_and_never_the_secret():
    async with driving(LISTED, (160, 48), view="transactions") as (pilot, app, _, _):
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, Page))
        text = screen_text(app)
        assert "webhook-signature: v1," in text
        assert "X-HMAC-Signature: " in text
        assert '"Status": "SUCCESS"}' in text
        assert SECRET not in text
        assert not [char for char in text if char != "\n" and not char.isprintable()]
