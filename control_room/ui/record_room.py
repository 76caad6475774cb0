"""The app for a run that is over: the same views, at any moment of it, with a time slider."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from string import Formatter
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from control_room.runs.opened import OpenedRun
from control_room.ui.app import ControlRoom
from control_room.ui.commands import TABLE, Command
from control_room.ui.dialogs import Prompt
from control_room.ui.record_commands import POINTLESS, SLIDER, record_table
from control_room.ui.record_desk import RecordDesk, why_not
from control_room.ui.views.replay import ReplayView
from control_room.ui.views.transactions import TransactionsView
from control_room.ui.widgets.chrome import clock
from control_room.ui.widgets.slider import Play, Slider

STEP_S: Final = 1.0
FAR_S: Final = 10.0
FAST: Final = 10
_MOVING: Final = ("back", "on", "moment", "play")
_NEXT_S: Final = 0.05
"""A fault as near as this is the one that is shown."""


class RecordRoom(ControlRoom):
    """The control room at a moment of a run."""

    # Before the lists: home and end move in time here, not in a list (g and G do that).
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(each.key, f"press('{each.key}')", show=False, priority=True) for each in SLIDER
    ]

    def __init__(
        self,
        opened: OpenedRun,
        theme: str = "textual-dark",
        table: Iterable[Command] = TABLE,
        problems: Sequence[str] = (),
    ) -> None:
        """As the app; `table`: the commands without those of the time slider."""
        commands, wrong_keys = record_table(table)
        super().__init__(
            opened,
            lambda: RecordDesk(opened),
            table=commands,
            read_only=True,
            theme=theme,
            problems=(*problems, *wrong_keys),
        )
        self.opened = opened
        self.speed = 1
        self.playing = False
        self._played_at_s = 0.0
        self._noted = False

    def below(self) -> ComposeResult:
        """The slider."""
        yield Slider(id="slider")

    def record_words(self) -> str:
        """The moment, or why there is none."""
        if not self.opened.ready or not self.snapshot.taken_at_s:
            return "cannot be opened" if self.opened.error else "reading"
        return clock(self.snapshot.taken_at_s)

    def hint(self, text: str) -> str:
        """As for the app; where it names a command that is not done here, only of those that are."""
        off = {each.id for each in self.table if self.refusal(each)}
        parts = [(part, {name for _, name, _, _ in Formatter().parse(part) if name}) for part in text.split(" · ")]
        if any(named & off for _, named in parts):
            text = " · ".join(part for part, named in parts if named and not named & off)
        return super().hint(text)

    def commands(self) -> list[Command]:
        """As for the app; how to move in time stands first."""
        return sorted(super().commands(), key=lambda each: each.id not in _MOVING)

    def refusal(self, command: Command) -> str:
        """Whatever changes something, or serves only that, is off."""
        if command.changes or command.id in POINTLESS:
            return f"{command.title}: {why_not(self.opened.run_dir.name)}"
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a dialog the slider's keys belong to the dialog."""
        if action == "press" and len(self.screen_stack) > 1:
            return False
        return super().check_action(action, parameters)

    def tick(self) -> None:
        """As for the app; and time runs on while it is played."""
        now_s = time.monotonic()
        if self.playing:
            self.opened.go(self.opened.moment_s + self.speed * (now_s - self._played_at_s))
            self.playing = self.opened.moment_s < self.opened.span_s[1]
        self._played_at_s = now_s
        if self.complete and self.opened.ready and self.opened.settings is not None:
            self.query_one(ReplayView).options = self.opened.settings
        if self.opened.note and not self._noted:
            self._noted = True
            self.notify(self.opened.note, severity="warning", timeout=6, markup=False)
        super().tick()

    def draw(self) -> None:
        """As for the app, and the slider."""
        super().draw()
        if self.screen_stack and (found := self.screen_stack[0].query(Slider)):
            begins_at_s, ends_at_s = self.opened.span_s
            marks = [(mark.at_s, mark.kind) for mark in self.opened.marks]
            found.first().show(Play(begins_at_s, ends_at_s, self.opened.moment_s, self.speed, self.playing, marks))

    def go(self, moment_s: float) -> None:
        """To a moment (Unix)."""
        self.opened.go(moment_s)
        self.snapshot = self.opened.snapshot()
        for view in self.query(TransactionsView):
            view.read_story_again()

    def on_slider_moved(self, event: Slider.Moved) -> None:
        """A click on the slider."""
        self.go(event.moment_s)
        self.draw()

    def do_back(self) -> None:
        """A second back."""
        self.go(self.opened.moment_s - STEP_S)

    def do_on(self) -> None:
        """A second on."""
        self.go(self.opened.moment_s + STEP_S)

    def do_far_back(self) -> None:
        """Ten seconds back."""
        self.go(self.opened.moment_s - FAR_S)

    def do_far_on(self) -> None:
        """Ten seconds on."""
        self.go(self.opened.moment_s + FAR_S)

    def do_first(self) -> None:
        """To the begin."""
        self.go(self.opened.span_s[0])

    def do_last(self) -> None:
        """To the end."""
        self.go(self.opened.span_s[1])

    def do_next_fault(self) -> None:
        """To the next mark; what it says is then the newest line of the activity."""
        later = [mark for mark in self.opened.marks if mark.at_s > self.opened.moment_s + _NEXT_S]
        self._to_mark(later[:1], "no later fault or heal in this run")

    def do_previous_fault(self) -> None:
        """To the mark before."""
        before = [mark for mark in self.opened.marks if mark.at_s < self.opened.moment_s - _NEXT_S]
        self._to_mark(before[-1:], "no earlier fault or heal in this run")

    def _to_mark(self, marks: list[Any], none: str) -> None:
        for mark in marks:
            self.go(mark.at_s)
        if not marks:
            self.notify(none)

    def do_play(self) -> None:
        """Plays, from the begin where it stands at the end; or halts."""
        begins_at_s, ends_at_s = self.opened.span_s
        if not self.playing and self.opened.moment_s >= ends_at_s:
            self.go(begins_at_s)
        self.playing = not self.playing
        self._played_at_s = time.monotonic()

    def do_speed(self) -> None:
        """The other speed."""
        self.speed = 1 if self.speed == FAST else FAST

    def do_moment(self) -> None:
        """Asks for a time."""
        begins_at_s, ends_at_s = self.opened.span_s
        hint = f"between {clock(begins_at_s)} and {clock(ends_at_s)}"

        def check(text: str) -> None:
            moment_of(text, begins_at_s, ends_at_s)

        def given(text: str | None) -> None:
            if text:
                self.go(moment_of(text, begins_at_s, ends_at_s))
                self.draw()

        self.push_screen(Prompt("What happened at", clock(self.opened.moment_s), hint, check), given)


def moment_of(text: str, begins_at_s: float, ends_at_s: float) -> float:
    """The moment (Unix) of a time of day here, within a run; the first, where it has several.

    Raises:
        ValueError: not a time, or the run has no such moment. The message says what to write.
    """
    words = text.strip()
    for pattern in ("%H:%M:%S", "%H:%M"):
        try:
            told = datetime.strptime(words, pattern)  # noqa: DTZ007 - a time of day alone has no zone
        except ValueError:
            continue
        break
    else:
        raise ValueError(f"{words!r} is no time of day; write it as 12:03:11")
    # The time belongs to whole seconds: 12:03:11 is in a run that begins at 12:03:11.4.
    day = datetime.fromtimestamp(begins_at_s).astimezone()
    while day.timestamp() < ends_at_s + 86_400:
        found_s = day.replace(hour=told.hour, minute=told.minute, second=told.second, microsecond=0).timestamp()
        if begins_at_s - 1 < found_s <= ends_at_s:
            return max(found_s, begins_at_s)
        day += timedelta(days=1)
    raise ValueError(f"the run is from {clock(begins_at_s)} to {clock(ends_at_s)}: {words} is not in it")
