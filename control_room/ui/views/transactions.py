"""Every transaction, live: the list, the filter, and the story of the one under the cursor."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import ComposeResult

from control_room.tracking.filter import parse_filter, undelivered_s
from control_room.tracking.listing import Headed, Listing, Order, Query, arranged, as_before, count_without, find
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import amount_text, harmless
from control_room.tracking.timeline_text import render
from control_room.tracking.webhook import render_webhook
from control_room.ui.dialogs import Page, Prompt
from control_room.ui.jobs import Job
from control_room.ui.redeliver_command import Askable, askable, redeliver_command
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.chrome import Line, duration
from control_room.ui.widgets.line_list import Cell, Column, LineList

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.tracking.timeline import Timeline
    from control_room.tracking.transactions import TransactionRow

TONES: Final = {
    "outbox": "info",
    "in-kafka": "info",
    "retrying": "warn",
    "requeued": "warn",
    "delivered": "good",
    "dead": "bad",
    "missing": "bad",
    "accepted": "info",
}
STORY_AFTER_S: Final = 0.3
"""How long the cursor rests on a transaction before its story is read: running through the list asks for nothing."""
STORY_AGAIN_S: Final = 2.0
STORY_FOLLOWED_S: Final = 5.0  # where rows move under the cursor: a story costs as much as a hundred deliveries
ARRANGED_HERE: Final = 10_000
"""A longer list waits for the collector, a moment: in the screen's own thread it would hold up the keys."""
_HINT: Final = "state:retrying,outbox,open  try>2  round>=1  age>10s  amount>5000  http:500,t/o  id:4d3d  words"
_EXPORTED: Final = (
    "transaction_id",
    "state",
    "round",
    "attempt",
    "attempts_total",
    "last_status",
    "last_error",
    "accepted_at_s",
    "delivered_at_s",
    "amount_inr",
    "status",
    "sender_name",
    "receiver_name",
    "partition",
    "offset",
)


class TransactionsView(View):
    """View 2."""

    NAME = "transactions"
    DEFAULT_CSS = """
    TransactionsView #transactions-list { height: 2fr; }
    TransactionsView #story { height: 1fr; min-height: 6; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.query_now = Query()
        self._listed: Sequence[TransactionRow] = ()
        self._held: Sequence[TransactionRow] | None = None
        """What was listed when the list was held."""
        self._new = 0
        """How many came since it is held."""
        self._drawn: Listing | None = None
        self._story: Timeline | None = None
        self._story_for = ""
        self._rested_since_s = 0.0
        self._asked_at_s = float("-inf")
        self._sought: TransactionRow | None = None
        """One that was jumped to and is not among those listed."""

    def content(self) -> ComposeResult:
        """The list and the story."""
        columns: list[Column[TransactionRow]] = [
            Column("ID", 8, lambda row: row.transaction_id[:8]),
            Column("AMOUNT", 12, lambda row: amount_text(row.amount_inr), right=True),
            Column("STATE", 9, lambda row: (row.state, TONES.get(row.state, ""))),
            Column("ROUND", 5, lambda row: str(row.round), right=True),
            Column("TRY", 3, lambda row: str(row.attempt), right=True),
            Column("HTTP", 5, _answer),
            Column("AGE", 7, lambda row: duration(undelivered_s(row, self.snapshot.taken_at_s)), right=True),
            Column("NEXT", 12, lambda row: _next(row, self.snapshot.taken_at_s)),
            Column("KAFKA", 10, _where, from_width=86),
            Column("RECEIVER", 8, lambda row: (row.receiver_name, "dim"), grows=True, from_width=100),
        ]
        found: LineList[TransactionRow] = LineList(
            columns, lambda row: row.transaction_id, id="transactions-list", marks=True
        )
        found.add_class("pane")
        yield found
        story = Line(id="story")
        story.add_class("pane")
        yield story

    def draw(self, snapshot: Snapshot) -> None:
        """The list as asked for, held or not, and the story of the selected one."""
        part = snapshot.transactions
        found = self.query_one("#transactions-list", LineList)
        listing = part.value
        if listing is None:
            found.empty = part.error
            found.show(())
        else:
            none = "no transaction fits" if listing.held else "no payment was accepted yet: {replay} replays a CSV file"
            found.empty = self.hint(none)
            if listing is not self._drawn:
                self._drawn = listing
                found.show(self._rows(listing))
            else:
                found.show(found.rows)
            found.border_title = self._title(listing, len(found.rows))
        keys = self.hint("{filter} filter · {order} order · {follow} hold · {jump} jump")
        found.border_subtitle = stale(part).replace("[", "(") or keys
        self._draw_story(found.current)

    def _title(self, listing: Listing, shown: int) -> str:
        chosen = str(self.query_now.filter).replace("[", "(") or "state:any"
        held = "" if self._held is None else f" · HELD, {self._new:,} new"
        unread = f" · {listing.unread:,} not read yet" if listing.unread else ""
        return f"Transactions {shown:,}{unread} · {chosen} · {listing.open:,} open · {self.query_now.order}{held}"

    def _rows(self, listing: Listing) -> Sequence[TransactionRow]:
        rows: Sequence[TransactionRow] = listing.rows
        if listing.query != self.query_now and len(rows) <= ARRANGED_HERE:
            # Asked for since: arranged here until the collector has it, so that a key is answered at once.
            rows = arranged(rows, self.query_now, self.snapshot.taken_at_s)
        if self._held is not None:
            self._new = count_without(rows, self._held)
            rows = as_before(rows, self._held)
        self._listed = rows
        if self._sought is not None and find(rows, self._sought.transaction_id) is None:
            rows = Headed(self._sought, rows)
        return rows

    def _ask(self, query: Query) -> None:
        self.query_now = query
        self._drawn = None
        self._held = None
        self._sought = None
        self.room.source.ask(query)

    def recall(self, query: Query) -> None:
        """Shows what was shown the last time."""
        if query != self.query_now:
            self._ask(query)

    def do_filter(self) -> None:
        """Asks for a filter."""

        def check(text: str) -> None:
            parse_filter(text)

        def given(text: str | None) -> None:
            if text is not None:
                self._ask(replace(self.query_now, filter=parse_filter(text)))

        self.room.push_screen(Prompt("Filter", str(self.query_now.filter), _HINT, check), given)

    def do_order(self) -> None:
        """The next order."""
        orders = list(Order)
        self._ask(replace(self.query_now, order=orders[(orders.index(self.query_now.order) + 1) % len(orders)]))
        self.query_one("#transactions-list", LineList).action_edge(0)

    def do_follow(self) -> None:
        """Holds the list as it is, or lets it go on."""
        self._held = self._listed if self._held is None else None
        self._drawn = None

    def do_jump(self) -> None:
        """Asks for an id."""
        hint = "an id, or at least its first 4 characters"
        self.room.push_screen(Prompt("Jump to transaction", "", hint), lambda text: self.jump(text) if text else None)

    def jump(self, text: str) -> None:
        """Puts the cursor on the transaction whose id begins with `text`; one that is not listed is looked up."""
        found = self.query_one("#transactions-list", LineList)
        digits = text.strip().lower()
        place = find(found.rows, digits)
        if place is not None:
            found.go_to(found.rows[place].transaction_id)
            return

        def looked(job: Job) -> None:
            if job.result is not None:
                self._sought, self._drawn = job.result, None
                self.draw(self.snapshot)
                found.go_to(job.result.transaction_id)

        self.room.run_job(f"find {text.strip()}", f"event {text.strip()}", lambda _: self._look_up(text), looked)

    def _look_up(self, text: str) -> TransactionRow:
        from control_room.tracking.transactions import TransactionLookupError  # in a job, so nobody waits for it

        try:
            return self.room.desk.find(text)
        except TransactionLookupError as error:
            raise RuntimeError(f"{error}; change the filter or give more of the id") from error

    def do_copy_id(self) -> None:
        """Copies the id."""
        row = self.query_one("#transactions-list", LineList).current
        if row is not None:
            self.room.copy_to_clipboard(row.transaction_id)
            self.room.notify(f"copied {row.transaction_id}")

    def do_timeline(self) -> None:
        """The whole story on a page."""
        row = self.query_one("#transactions-list", LineList).current
        if row is None:
            return

        def told(job: Job) -> None:
            if job.result is not None:
                story = job.result
                sent = render_webhook(story.webhook) if story.webhook is not None else []
                self.room.push_screen(Page(story.transaction_id, [*render(story), *sent], wrap=False))

        command = f"event {row.transaction_id}"
        self.room.run_job(
            f"story of {row.transaction_id[:8]}", command, lambda _: self.room.desk.story(row.transaction_id), told
        )

    def do_redeliver(self) -> None:
        """Has the marked ones, else the selected one, delivered once more."""
        self._redeliver(askable(self.query_one("#transactions-list", LineList).chosen), by_filter=False)

    def do_redeliver_shown(self) -> None:
        """Has all that the list shows delivered once more; a long list is gone through beside the screen."""
        rows = self.query_one("#transactions-list", LineList).rows
        if len(rows) <= ARRANGED_HERE:
            self._redeliver(askable(rows), by_filter=True)
            return

        def counted(job: Job) -> None:
            found, job.result = job.result, None  # kept jobs keep no list
            if found is not None:
                self._redeliver(found, by_filter=True)

        self.room.run_job(f"look at {len(rows):,} transactions", "", lambda job: askable(rows, job.show), counted)

    def _redeliver(self, found: Askable, *, by_filter: bool) -> None:
        """Asks why, then whether, with the count; what is still on its way is left out."""
        ids, title, said = found.ids, found.title, found.said
        if not ids:
            words = "still on its way: delivered without being asked for" if found.left else "no transaction is listed"
            self.room.notify(f"nothing to redeliver: {words}", severity="warning")
            return
        if by_filter:
            said.append(f"Filter: {str(self.query_now.filter) or 'none, that is all that is listed'}")

        def deed(reason: str) -> None:
            command = redeliver_command(ids, str(self.query_now.filter) if by_filter else "", reason)
            self.query_one("#transactions-list", LineList).marked.clear()
            work = partial(self.room.desk.redeliver, ids=ids, reason=reason)
            self.room.run_job(f"redeliver {len(ids):,}", command, work, lambda _: self._look_again())

        def given(reason: str | None) -> None:
            if reason is not None:
                self.room.ask(f"{title}?", said, [("yes", f"Redeliver {len(ids):,}")], lambda _: deed(reason))

        self.room.push_screen(
            Prompt(f"{title}: why?", "", "kept with it, may be empty · enter goes on · esc leaves"), given
        )

    def _look_again(self) -> None:
        self._story, self._asked_at_s = None, float("-inf")

    def do_export_list(self) -> None:
        """Writes what the list shows; a million of them take a while, so beside the screen."""
        rows = self.query_one("#transactions-list", LineList).rows

        def made(job: Job) -> None:
            text, job.result = job.result, None  # kept jobs keep no file
            if text is not None:
                self.room.deliver_text(text, save_filename="transactions.csv")
                self.room.notify(f"{len(rows):,} transactions written to transactions.csv")

        self.room.run_job("write the list to transactions.csv", "", lambda _: _as_csv(rows), made)

    def on_line_list_moved(self) -> None:
        """Whoever moves the cursor wants to see the story of that row soon."""
        self._asked_at_s = float("-inf")

    def read_story_again(self) -> None:
        """The moment is another: so is the story, perhaps."""
        self._asked_at_s = float("-inf")

    def _draw_story(self, row: TransactionRow | None) -> None:
        place = self.query_one("#story", Line)
        if row is None:
            place.border_title = "Story"
            place.say(("", ""))
            return
        now_s = time.monotonic()
        if row.transaction_id != self._story_for:
            self._story_for, self._rested_since_s, self._story = row.transaction_id, now_s, None
        done = (
            self._story is not None
            and row.state == "delivered"
            and self._story.row is not None
            and self._story.row.state == row.state
            and not any(event.kind == "waiting" for event in self._story.events)  # a redelivery
        )
        again_s = STORY_FOLLOWED_S if self._story is None else STORY_AGAIN_S
        due = now_s - self._rested_since_s >= STORY_AFTER_S and now_s - self._asked_at_s >= again_s
        if due and not done and self.snapshot.is_up:
            self._asked_at_s = now_s
            self.room.read(lambda: self.room.desk.story(row.transaction_id), self._told)
        place.border_title = f"{row.transaction_id} {row.state}".replace("[", "(")
        place.border_subtitle = self.hint("{timeline} whole story · {copy_id} copy id")
        height = max(1, place.size.height)
        lines = render(self._story)[1:] if self._story is not None else [_summary(row)]
        place.say(("\n".join(shortened(lines, height)), ""))

    def _told(self, story: Any) -> None:
        if len(self.query("#story, #transactions-list")) < 2:
            return  # leaving already
        if story is not None and story.transaction_id == self._story_for:
            self._story = story
            self._draw_story(self.query_one("#transactions-list", LineList).current)


def shortened(lines: Sequence[str], height: int) -> list[str]:
    """As many lines as there is room for: the first and the last, and how many are between."""
    if len(lines) <= height:
        return list(lines)
    first = max(0, height // 2 - 1)
    last = max(0, height - first - 1)
    left_out = len(lines) - first - last
    return [*lines[:first], f"  … {left_out} more: enter", *lines[len(lines) - last :]]


def _summary(row: TransactionRow) -> str:
    by, to = harmless(row.accepted_by, 40), harmless(row.receiver_name, 60)
    return f"accepted by {by}, {amount_text(row.amount_inr)}, to {to or '?'}"


def _answer(row: TransactionRow) -> Cell:
    if row.last_status is not None:
        return str(row.last_status), "" if 200 <= row.last_status < 300 else "warn"
    return ("t/o" if "timeout" in row.last_error.lower() else row.last_error, "warn") if row.last_error else "-"


def _next(row: TransactionRow, now_s: float) -> Cell:
    if row.state == "outbox":
        return "publish"
    if row.state == "in-kafka":
        return "first try"
    if row.next_due_at_s is None or row.state in ("delivered", "dead"):
        return "-"
    left_s = row.next_due_at_s - now_s
    return f"in {duration(left_s)}" if left_s > 0 else "due"


def _where(row: TransactionRow) -> Cell:
    return f"p{row.partition} @{row.offset}" if row.partition is not None else "-"


def _as_csv(rows: Sequence[TransactionRow]) -> io.StringIO:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_EXPORTED)
    lines.writerows([_exported(getattr(row, name)) for name in _EXPORTED] for row in rows)
    text.seek(0)
    return text


def _exported(value: Any) -> str:
    from control_room.verify.output import safe_cell  # when something is exported

    return "" if value is None else safe_cell(str(value))
