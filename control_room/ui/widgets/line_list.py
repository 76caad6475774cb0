"""A list that draws only the lines that are seen: a hundred thousand rows cost what fifty do.

Rows are values, replaced whole; the cursor stays on its row by the row's key, or at the top where it follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Protocol, TypeVar, runtime_checkable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from control_room.tracking.text import harmless
from control_room.ui.widgets.titles import QuietTitle

T = TypeVar("T")
TONES: Final = ("good", "warn", "bad", "info", "dim")
Cell = str | tuple[str, str]
"""Text, or text and one of TONES."""
REDRAW_S: Final = 1.0
"""How often rows that did not change are drawn again, for ages and countdowns."""
_MAX_CELL_CHARS: Final = 400
_NEAR: Final = 300
"""Rows looked at on each side of where a row was, before all are searched."""


@runtime_checkable
class Searchable(Protocol):
    """Rows that know a faster way to one than looking at each."""

    def find(self, key: str) -> int | None:
        """Where the row with `key` stands; None where there is none."""


@dataclass(frozen=True)  # no slots: `Column[T](...)` sets an attribute, and Python 3.11 fails where there are
class Column(Generic[T]):
    """One column."""

    title: str
    width: int
    """In cells; of the column that grows, the least."""
    cell: Callable[[T], Cell]
    right: bool = False
    grows: bool = False
    from_width: int = 0
    """Left out where the list is narrower than this: it carries no state."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one line of the screen says."""

    head: str
    """The mark in front; where there is no row, the whole text."""
    cells: tuple[tuple[str, str], ...] | None
    """Text and tone of each; None where there is no row."""
    styles: tuple[str, ...]


class LineList(ScrollView, Generic[T], can_focus=True):
    """The list."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-list--header",
        "line-list--cursor",
        "line-list--marked",
        *(f"line-list--{tone}" for tone in TONES),
    }
    DEFAULT_CSS = """
    LineList { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    LineList > .line-list--header { text-style: bold; color: $text-muted; }
    LineList > .line-list--cursor { background: $primary 35%; text-style: bold; }
    LineList > .line-list--marked { background: $warning 25%; }
    LineList > .line-list--good { color: $text-success; }
    LineList > .line-list--warn { color: $text-warning; }
    LineList > .line-list--bad { color: $text-error; text-style: bold; }
    LineList > .line-list--info { color: $text-accent; }
    LineList > .line-list--dim { color: $text-muted; }
    """
    border_title = QuietTitle()
    border_subtitle = QuietTitle()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", show=False, id="list_up"),
        Binding("down,j", "cursor(1)", show=False, id="list_down"),
        Binding("pageup,ctrl+b", "page(-1)", show=False, id="list_page_up"),
        Binding("pagedown,ctrl+f", "page(1)", show=False, id="list_page_down"),
        Binding("home,g", "edge(0)", show=False, id="list_first"),
        Binding("end,G", "edge(1)", show=False, id="list_last"),
        Binding("space", "mark", show=False, id="list_mark"),
    ]

    class Moved(Message):
        """The cursor stands on another row."""

    class Opened(Message):
        """The row under the cursor was clicked."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], str],
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
        empty: str = "nothing here",
        marks: bool = False,
        header: bool = True,
        cursor: bool = True,
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._key = key
        self.empty = empty
        self._marks = marks
        self._top = 1 if header else 0
        self._cursor = cursor
        self.rows: Sequence[T] = ()
        self._fresh_until_s = 0.0
        self._drawn: dict[int, _Told] = {}
        """What each line of the screen was drawn from."""
        self.index = 0
        self.marked: set[str] = set()
        self.at_top = True
        """Whether the cursor was put on the first row: there it stays when rows come in above."""

    @property
    def current(self) -> T | None:
        """The row under the cursor."""
        return self.rows[self.index] if 0 <= self.index < len(self.rows) else None

    @property
    def chosen(self) -> list[T]:
        """The marked rows, else the one under the cursor."""
        places = sorted(at for key in self.marked if (at := self._place(key)) is not None)
        current = self.current
        return [self.rows[at] for at in places] or ([] if current is None else [current])

    def show(self, rows: Sequence[T], *, stay_on_row: bool = True) -> None:
        """Replaces the rows. The cursor stays on its row where `stay_on_row` and the row is still there."""
        if rows is self.rows and time.monotonic() < self._fresh_until_s:
            return
        self._fresh_until_s = time.monotonic() + REDRAW_S
        before = self.current
        self.rows = rows
        if before is not None and stay_on_row and not (self.at_top and self.index == 0):
            self.index = self._find(self._key(before))
        self.index = max(0, min(self.index, len(rows) - 1))
        self._take_room(Size(self.size.width, len(rows) + self._top))
        self._keep_in_sight()
        self._refresh_changed()

    def _take_room(self, size: Size) -> None:
        before = self.virtual_size
        if size == before:
            return
        if self.show_vertical_scrollbar and size.width == before.width and size.height > before.height:
            # One that has its scroll bar and grows is laid out as before, but for the bar: to set the size in the usual
            # way has the whole screen laid out and drawn anew, at each look of a list into which something flows.
            self.set_reactive(ScrollView.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

    def go_to(self, key: str) -> bool:
        """Puts the cursor on the row with that key; False where there is none."""
        place = self._place(key)
        if place is not None:
            self._move(place)
        return place is not None

    def _place(self, key: str) -> int | None:
        if isinstance(self.rows, Searchable):
            return self.rows.find(key)
        return next((at for at, row in enumerate(self.rows) if self._key(row) == key), None)

    def _find(self, key: str) -> int:
        """The row's new place, looked for around the old one."""
        count = len(self.rows)
        for away in range(min(count, _NEAR)):
            for index in (self.index + away, self.index - away):
                if 0 <= index < count and self._key(self.rows[index]) == key:
                    return index
        place = self._place(key)
        return self.index if place is None else place

    def action_cursor(self, by: int) -> None:
        """One row up or down."""
        self._move(self.index + by)

    def action_page(self, by: int) -> None:
        """A screen up or down."""
        self._move(self.index + by * max(1, self.size.height - self._top - 1))

    def action_edge(self, end: int) -> None:
        """To the first or the last row."""
        self._move(len(self.rows) - 1 if end else 0)

    def action_mark(self) -> None:
        """Marks the row, or takes the mark away, and goes on."""
        row = self.current
        if not self._marks or row is None:
            return
        self.marked ^= {self._key(row)}
        self._move(self.index + 1)

    def _move(self, index: int) -> None:
        self.index = max(0, min(index, len(self.rows) - 1))
        self.at_top = self.index == 0
        self._keep_in_sight()
        self._refresh_changed()
        self.post_message(self.Moved())

    def _keep_in_sight(self) -> None:
        seen = max(1, self.size.height - self._top)
        first = round(self.scroll_offset.y)
        if self.index < first:
            self.scroll_to(y=self.index, animate=False)
        elif self.index >= first + seen:
            self.scroll_to(y=self.index - seen + 1, animate=False)

    def _refresh_changed(self) -> None:
        """Has those lines drawn that say something else than they did: to draw one costs ten times to compare it."""
        width, height = self.size
        for y in range(self._top, height):
            if self._changed(y, width):
                self.refresh(Region(0, y, width, 1))

    def _changed(self, y: int, width: int) -> bool:
        """Failure policy: open. A row that cannot be read is drawn again, and says so then."""
        try:
            return self._told(y, width) != self._drawn.get(y)
        except Exception:  # noqa: BLE001 - whatever a row raises is told by `render_line`
            return True

    def on_resize(self, event: events.Resize) -> None:
        """The width is the list's own."""
        del event  # its size has the border in it
        self.virtual_size = Size(self.size.width, len(self.rows) + self._top)
        self._keep_in_sight()

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; one on the cursor opens the row."""
        at = event.get_content_offset(self)
        if at is None or at.y < self._top:
            return
        index = at.y - self._top + round(self.scroll_offset.y)
        if index >= len(self.rows):
            return
        if index == self.index:
            self.post_message(self.Opened())
        else:
            self._move(index)

    def render_line(self, y: int) -> Strip:
        """One line of the screen.

        Failure policy: open. A row that cannot be drawn says so in its own line.
        """
        width = self.size.width
        try:
            return self._line(y, width)
        except Exception as error:  # noqa: BLE001 - a line that raises would take the whole screen with it
            text = f"cannot be drawn: {type(error).__name__}: {harmless(error, 200)}"
            return Strip([Segment(set_cell_size(text, width), self.rich_style)], width)

    def _line(self, y: int, width: int) -> Strip:
        plain = self.rich_style
        if y < self._top:
            style = plain + self.get_component_rich_style("line-list--header", partial=True)
            return self._strip([(column.title, "") for column in self._shown(width)], width, style)
        told = self._drawn[y] = self._told(y, width)
        if told.cells is None:
            style = plain + self.get_component_rich_style("line-list--dim", partial=True)
            return Strip([Segment(set_cell_size(told.head, width), style)], width)
        style = plain
        for name in told.styles:
            style += self.get_component_rich_style(name, partial=True)
        return self._strip(told.cells, width, style, told.head)

    def _told(self, y: int, width: int) -> _Told:
        """What the line says, and how."""
        index = y - self._top + round(self.scroll_offset.y)
        if index >= len(self.rows):
            return _Told(harmless(f" {self.empty}" if not self.rows and y == self._top else ""), None, ())
        row = self.rows[index]
        marked = self._key(row) in self.marked
        under_cursor = self._cursor and index == self.index
        styles = ["line-list--marked"] if marked else []
        if under_cursor and self.has_focus:
            styles.append("line-list--cursor")
        head = "◆" if marked else "▶" if under_cursor else " "
        return _Told(head, tuple(_cell(column.cell(row)) for column in self._shown(width)), tuple(styles))

    def _strip(self, cells: Sequence[tuple[str, str]], width: int, style: Style, head: str = " ") -> Strip:
        shown = self._shown(width)
        free = width - 1 - sum(column.width + 1 for column in shown)
        segments = [Segment(head, style)]
        for column, (text, tone) in zip(shown, cells, strict=True):
            space = max(1, column.width + (free if column.grows else 0))
            own = style + self.get_component_rich_style(f"line-list--{tone}", partial=True) if tone else style
            segments += [Segment(fitted(text, space, right=column.right), own), Segment(" ", style)]
        return Strip(segments).adjust_cell_length(width, style)

    def _shown(self, width: int) -> list[Column[T]]:
        return [column for column in self._columns if width >= column.from_width]


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis, or filled with blanks."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    blanks = " " * (width - length)
    return blanks + text if right else text + blanks


def _cell(told: Cell) -> tuple[str, str]:
    text, tone = told if isinstance(told, tuple) else (told, "")
    return harmless(text, _MAX_CELL_CHARS), tone
