"""What is always there: the title, the verdict line, the tabs, the keys. Each draws values and knows nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from control_room.tracking.assurance import Assurance, Word
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.commands import VIEWS, Command
from control_room.ui.widgets.titles import QuietTitle

_STYLES: Final = {
    Word.FINE: "bold $text-success",
    Word.BEHIND: "bold $text-warning",
    Word.ALARM: "bold $text-warning reverse",
    Word.BROKEN: "bold $text-error reverse",
    Word.UNKNOWN: "bold $text-accent",
}


class Line(Static):
    """Text from pieces, drawn again only when it has changed."""

    DEFAULT_CSS = "Line { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"
    border_title = QuietTitle()
    border_subtitle = QuietTitle()

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__("", id=id, markup=False)
        self._drawn: tuple[tuple[str, str], ...] = ()

    def say(self, *pieces: tuple[str, str]) -> None:
        """Replaces the text by pieces of text and style."""
        if pieces == self._drawn:
            return
        before, self._drawn = self._drawn, pieces
        content = Content.assemble(*((_plain(text), style) for text, style in pieces if text))
        # As many lines as before take the same room: a new layout of the whole screen costs ten times the drawing.
        self.update(content, layout=_lines(before) != _lines(pieces))


def _lines(pieces: Sequence[tuple[str, str]]) -> int:
    return sum(text.count("\n") for text, _ in pieces) if pieces else -1


def _plain(text: str) -> str:
    """Line breaks are ours; any other control character that came so far is not shown as what it would do."""
    return "\n".join(harmless(line, 4000) for line in text.split("\n"))


class TitleLine(Line):
    """Which stack, which view, how many members are up, what is armed."""

    def show(
        self, snapshot: Snapshot, view: str, *, armed: bool, frozen: str, read_only: bool, record: str = ""
    ) -> None:
        """Draws it. `record`: which moment this is, where it is not now."""
        members = snapshot.members.value or ()
        ready = sum(member.status.ready for member in members)
        faults = snapshot.faults.value.running if snapshot.faults.value else ()
        up = f"{ready}/{len(members)} up" if snapshot.is_up and members else "no stack" if snapshot.stack.error else "…"
        if record and not members:
            up = ""
        pieces = [
            (" bruce-control ", "bold reverse"),
            (f" {'record' if record else snapshot.runtime} ▸ {VIEWS[view]} ", "bold"),
            (f"  {up}", "$text-success" if members and ready == len(members) else "$text-warning"),
        ]
        if faults:
            pieces.append((f"  ! {len(faults)} fault{'s' * (len(faults) != 1)} open", "bold $text-error"))
        if armed:
            pieces += [("  ", ""), (" ARMED ", "bold $text-error reverse")]
        if frozen:
            pieces += [("  ", ""), (f" {frozen} ", "bold $text-accent reverse")]
        if record:
            pieces += [("  ", ""), (f" {record} ", "bold $text-accent reverse")]
        elif read_only:
            pieces.append(("  read-only", "$text-accent"))
        self.say(*pieces)


class VerdictLine(Line):
    """Is anything lost, how old is the evidence, by which sum. Two lines, three where the sum is long."""

    DEFAULT_CSS = "VerdictLine { height: auto; min-height: 2; max-height: 3; }"

    def show(self, found: Assurance, record: str = "") -> None:
        """Draws it: the word with what is known beside it, then the sum. `record`: as for the title."""
        width = max(20, (self.size.width or 80) - 2)
        facts = [f"RECORD {record}"] if record else []
        if found.lost is not None:
            facts.append(f"lost {found.lost}")
        if found.sum:
            facts.append("nothing waits" if found.oldest_s is None else f"oldest {duration(found.oldest_s)}")
        if found.evidence_age_s is not None:
            facts.append(f"checked {found.evidence_age_s:.1f} s ago")
        if found.duplicated is not None:
            facts.append(f"duplicated {found.duplicated}")
        if found.unaccounted is not None:  # late: the sum below ends with it
            facts.append(f"unaccounted {found.unaccounted}")
        if found.subject:
            facts.append(found.subject)
        head = harmless(found.headline, width)
        beside = fitting(facts, width - cell_len(head) - 3) if facts else ""
        lines = wrapped(found.sum, width) or [""]
        self.say(
            (f" {head}", _STYLES[found.word]),
            (f"   {beside}" if beside else "", "$text-muted"),
            ("".join(f"\n {line}" for line in lines), ""),
        )


def wrapped(total: str, width: int) -> list[str]:
    """A sum on as many lines as it needs, broken before a plus sign."""
    lines: list[str] = []
    for term in total.split(" + "):
        more = f"{lines[-1]} + {term}" if lines else term
        if lines and cell_len(more) > width:
            lines.append(f"+ {term}")
        else:
            lines[-1:] = [more]
    return [harmless(line, width) for line in lines if line]


def fitting(words: Sequence[str], width: int) -> str:
    """Those of `words`, in order, for which there is room."""
    text = ""
    for word in words:
        more = f"{text} · {word}" if text else word
        if cell_len(more) <= width:
            text = more
    return text


class TabLine(Line):
    """The views by number."""

    class Chosen(Message):
        """A view was clicked."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def show(self, current: str) -> None:
        """Draws it."""
        self.say(
            *(
                (f"[{number} {title}]", "bold reverse") if view == current else (f" {number} {title} ", "")
                for number, (view, title) in enumerate(VIEWS.items(), 1)
            )
        )

    def on_click(self, event: events.Click) -> None:
        """Which tab lies there."""
        begin = 0
        for number, (view, title) in enumerate(VIEWS.items(), 1):
            begin += len(f" {number} {title} ")
            if event.x < begin:
                self.post_message(self.Chosen(view))
                return


class KeyLine(Line):
    """The keys that do something here: as many as fit."""

    class Pressed(Message):
        """A key was clicked."""

        def __init__(self, command: Command) -> None:
            super().__init__()
            self.command = command

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._ends: tuple[tuple[int, Command], ...] = ()

    def show(self, commands: Sequence[Command]) -> None:
        """Draws it; what is everywhere first, so that `?` and `q` never fall off the end."""
        width = self.size.width or 80
        last = [each for each in commands if each.id in ("help", "palette", "quit")]
        chosen = [*last, *(each for each in commands if each not in last)]
        pieces: list[tuple[str, str]] = []
        ends: list[tuple[int, Command]] = []
        used = 0
        for each in chosen:
            length = cell_len(f" {each.shown_key} {each.title} ")
            if used + length > width:
                continue
            used += length
            ends.append((used, each))
            pieces += [(f" {each.shown_key}", "bold $text-accent"), (f" {each.title} ", "")]
        self._ends = tuple(ends)
        self.say(*pieces)

    def on_click(self, event: events.Click) -> None:
        """Does what the key does."""
        for end, command in self._ends:
            if event.x < end:
                self.post_message(self.Pressed(command))
                return


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `4:19`, `1:02:03`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def clock(at_s: float) -> str:
    """The time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def short_path(path: Path) -> str:
    """As a person would write it here."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown
