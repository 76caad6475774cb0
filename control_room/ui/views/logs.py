"""What the members wrote: interleaved or some of them, from a level on, searched, followed or held."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.widgets import Static

from control_room.stack.runtime import MEMBERS
from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.dialogs import Choice, ChooseSome, Prompt
from control_room.ui.log_search import LEVELS, Search, TooSlowError, search_for
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.log_pane import TONES, Numbered

_RANK: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 3}
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_ALL: Final = "all members"
SEARCH_S: Final = 0.5
"""How long a search may keep the screen."""


class LogsView(View):
    """View 7."""

    NAME = "logs"
    DEFAULT_CSS = "LogsView #log-whole { height: auto; max-height: 6; }"

    def __init__(self) -> None:
        super().__init__()
        self._members: frozenset[str] = frozenset()
        """Empty: all."""
        self._level = 0
        self._search = Search()
        self._following = True
        self._drawn: LogView | None = None
        self._whole = ""

    def content(self) -> ComposeResult:
        """The lines."""
        columns: list[Column[Numbered]] = [
            Column("TIME", 8, lambda each: (each[1].ts[11:19], "dim")),
            Column("MEMBER", 16, lambda each: (each[1].member, "info")),
            Column("LEVEL", 7, lambda each: (each[1].level, TONES.get(each[1].level, ""))),
            Column("", 20, self._text, grows=True),
        ]
        lines: LineList[Numbered] = LineList(columns, lambda each: str(each[0]), id="log-lines", empty="no line yet")
        lines.add_class("pane")
        yield lines
        whole = Static("", id="log-whole", classes="pane", markup=False)
        whole.border_title = "The whole line"
        yield whole

    def draw(self, snapshot: Snapshot) -> None:
        """The lines that are asked for; at the newest where it follows."""
        part = snapshot.logs
        lines = self.query_one("#log-lines", LineList)
        view = part.value or LogView()
        if view is not self._drawn:
            self._drawn = view
            lines.empty = part.error or "no line fits"
            lines.show(self._chosen(view))
            if self._following:
                lines.action_edge(1)
        state = "following" if self._following else self.hint("held: {log_follow} follows")
        words = f" · {self._search}" if self._search else ""
        lines.border_title = f"{self.words}{words}".replace("[", "(")
        gone = f"{view.dropped:,} older lines dropped · " if view.dropped else ""
        current = lines.current
        whole = harmless(current[1].raw, 2000) if current is not None else ""
        if whole != self._whole:
            self._whole = whole
            self.query_one("#log-whole", Static).update(whole)
        lines.border_subtitle = stale(part).replace("[", "(") or f"{gone}{len(lines.rows):,} lines · {state}"

    def newest(self, view: LogView, count: int) -> list[Numbered]:
        """The last `count` of the lines that this view shows."""
        found: list[Numbered] = []
        for index in range(len(view.lines) - 1, -1, -1):
            if len(found) == count:
                break
            if self._fits(view.lines[index]):
                found.append((view.dropped + index, view.lines[index]))
        return found[::-1]

    @property
    def words(self) -> str:
        """Whose lines it shows, and from which level on."""
        shown = ", ".join(sorted(self._members)) or "all members"
        return f"Logs of {shown} · from {LEVELS[self._level]} on"

    def _chosen(self, view: LogView) -> list[Numbered]:
        return [(view.dropped + index, line) for index, line in enumerate(view.lines) if self._fits(line)]

    def _fits(self, line: LogLine) -> bool:
        if self._members and line.member not in self._members:
            return False
        return not self._level or _RANK.get(line.level, 1) >= self._level

    def _text(self, each: Numbered) -> Cell:
        line = each[1]
        try:
            found = bool(self._search) and self._search.finds(line.text)
        except TooSlowError as error:
            found = False
            self._give_up(error)
        return line.text, "info" if found else TONES.get(line.level, "")

    def on_line_list_moved(self) -> None:
        """Away from the newest line it holds."""
        lines = self.query_one("#log-lines", LineList)
        self._following = lines.index >= len(lines.rows) - 1

    @property
    def chosen(self) -> tuple[str, tuple[str, ...]]:
        """Level and members, as they are remembered; nothing of what is as at first."""
        return LEVELS[self._level] if self._level else "", tuple(sorted(self._members))

    def recall(self, level: str, members: Sequence[str]) -> None:
        """Shows what was shown the last time."""
        self._level = LEVELS.index(level) if level else 0
        self.choose(members)

    def choose(self, members: Sequence[str], words: str = "") -> None:
        """Shows these members' lines."""
        self._members = frozenset(members)
        self._search = Search(words)
        self._again()

    def _again(self) -> None:
        self._drawn = None
        self._following = True

    def do_log_members(self) -> None:
        """Asks whose lines are shown; what is marked stays marked."""

        def given(names: Sequence[str] | None) -> None:
            if names is not None:
                self._members = frozenset(names) if _ALL not in names else frozenset()
                self._again()

        states = {member.status.name: member.status.state.value for member in self.snapshot.members.value or ()}
        choices = [
            Choice(_ALL, _ALL, ""),
            *(Choice(name, name, states.get(name, "")) for name in dict.fromkeys((*MEMBERS, *states))),
        ]
        self.room.push_screen(ChooseSome("Whose lines", choices, self._members), given)

    def do_log_level(self) -> None:
        """The next level."""
        self._level = (self._level + 1) % len(LEVELS)
        self._again()

    def do_log_follow(self) -> None:
        """Follows or holds."""
        self._following = not self._following
        self._drawn = None

    def do_log_search(self) -> None:
        """Asks for words, goes to the newest line that has them."""
        is_pattern = self._search.is_pattern

        def check(text: str) -> None:
            search_for(text, is_pattern=is_pattern)

        def given(text: str | None) -> None:
            if text is not None:
                self._search = search_for(text, is_pattern=is_pattern)
                self._seek(-1, from_end=True)

        kind = "a regular expression" if is_pattern else "words"
        hint = self.hint(f"{kind}, {{log_regex}} changes that · {{log_next}} next · {{log_previous}} previous")
        self.room.push_screen(Prompt("Search all lines shown", self._search.text, hint, check), given)

    def do_log_regex(self) -> None:
        """Searches for the other kind: words, or a regular expression; what is none is told, and given up."""
        try:
            self._search = search_for(self._search.text, is_pattern=not self._search.is_pattern)
        except ValueError as error:
            self._search = search_for("", is_pattern=True)
            self.room.problem(f"{error}; search again")
        self._drawn = None
        kind = "a regular expression" if self._search.is_pattern else "words"
        self.room.notify(self.hint(f"{{log_search}} searches for {kind} from now on"))

    def do_log_next(self) -> None:
        """Downwards."""
        self._seek(1)

    def do_log_previous(self) -> None:
        """Upwards."""
        self._seek(-1)

    def _seek(self, by: int, *, from_end: bool = False) -> None:
        lines = self.query_one("#log-lines", LineList)
        if not self._search:
            self.room.notify(self.hint("{log_search} gives the words first"))
            return
        index = len(lines.rows) if from_end else lines.index
        until_s = time.monotonic() + SEARCH_S
        try:
            while 0 <= (index := index + by) < len(lines.rows):
                if self._search.finds(lines.rows[index][1].text):
                    self._following = False
                    lines.go_to(str(lines.rows[index][0]))
                    return
                if time.monotonic() > until_s:
                    raise TooSlowError(f"{self._search} takes too long; fewer members, or a simpler one")
        except TooSlowError as error:
            self._give_up(error)
            return
        self.room.notify(f"no {'earlier' if by < 0 else 'later'} line has it")

    def _give_up(self, error: TooSlowError) -> None:
        """Nothing is searched for any more: every line that is drawn would take as long."""
        self._search = search_for("", is_pattern=self._search.is_pattern)
        self.room.problem(str(error))

    def do_log_transaction(self) -> None:
        """To the transaction of the line."""
        each = self.query_one("#log-lines", LineList).current
        found = _ID.search(each[1].raw) if each is not None else None
        if found is None:
            self.room.notify("this line speaks of no transaction")
        else:
            self.room.show_transaction(found[0].lower())
