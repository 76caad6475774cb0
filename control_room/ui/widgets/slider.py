"""The time slider of a run that is over: where in it one is, where its faults were, and how it is played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.message import Message

from control_room.ui.widgets.chrome import Line, clock

_GLYPHS: Final = {"apply": ("!", "bold $text-error"), "heal": ("✓", "bold $text-success")}
_TRACK: Final = "─"
_GONE: Final = "━"
_HERE: Final = "●"


@dataclass(frozen=True, slots=True)
class Play:
    """What the slider shows."""

    begins_at_s: float
    ends_at_s: float
    moment_s: float
    speed: int
    playing: bool
    marks: Sequence[tuple[float, str]]
    """When (Unix), and `apply` or `heal`."""


class Slider(Line):
    """One line: the moment, the track with its faults, the end, the speed. A click or a drag goes there."""

    class Moved(Message):
        """A place was clicked."""

        def __init__(self, moment_s: float) -> None:
            super().__init__()
            self.moment_s = moment_s

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._play: Play | None = None
        self._track = (0, 1)
        """Where the track begins on the line, and how many cells it has."""

    def show(self, play: Play) -> None:
        """Draws it."""
        self._play = play
        begin = f" {'▶' if play.playing else '⏸'} {clock(play.moment_s)} "
        end = f" {clock(play.ends_at_s)} {play.speed}x "
        cells = max(1, (self.size.width or 80) - len(begin) - len(end))
        self._track = len(begin), cells
        pieces: list[tuple[str, str]] = [(begin, "bold")]
        here = self._cell(play.moment_s, cells)
        marked = self._marked(play.marks, cells)
        for cell in range(cells):
            if cell == here:
                piece = _HERE, "bold $text-accent"
            elif cell in marked:
                piece = _GLYPHS[marked[cell]]
            else:
                piece = (_GONE, "$text-accent") if cell < here else (_TRACK, "$text-muted")
            pieces.append(piece)
        self.say(*_joined(pieces), (end, "$text-muted"))

    def _marked(self, marks: Sequence[tuple[float, str]], cells: int) -> dict[int, str]:
        """What is drawn at which cell: a fault before a heal."""
        found: dict[int, str] = {}
        for at_s, kind in marks:
            if kind == "apply" or self._cell(at_s, cells) not in found:
                found[self._cell(at_s, cells)] = kind
        return found

    def _cell(self, at_s: float, cells: int) -> int:
        play = self._play
        if play is None or play.ends_at_s <= play.begins_at_s:
            return 0
        share = (at_s - play.begins_at_s) / (play.ends_at_s - play.begins_at_s)
        return max(0, min(cells - 1, round(share * (cells - 1))))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Goes to the place, and follows the mouse until it is let go."""
        self.capture_mouse()
        self._to(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragged."""
        if event.button:
            self._to(event.x)

    def on_mouse_up(self) -> None:
        """Let go."""
        self.release_mouse()

    def _to(self, x: float) -> None:
        begin, cells = self._track
        play = self._play
        if play is None:
            return
        share = max(0.0, min(1.0, (x - begin) / max(1, cells - 1)))
        self.post_message(self.Moved(play.begins_at_s + share * (play.ends_at_s - play.begins_at_s)))


def _joined(pieces: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style in one piece."""
    found: list[tuple[str, str]] = []
    for text, style in pieces:
        if found and found[-1][1] == style:
            found[-1] = (found[-1][0] + text, style)
        else:
            found.append((text, style))
    return found
