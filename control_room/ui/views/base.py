"""What views share: they draw a snapshot, and a view that fails shows its error in its own place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from control_room.tracking.parts import Part
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.commands import hint
from control_room.ui.widgets.chrome import duration
from control_room.ui.widgets.line_list import LineList

if TYPE_CHECKING:
    from control_room.ui.app import ControlRoom


class View(Vertical):
    """One of the seven. Subclasses have `content` and `draw`, and a method `do_<id>` per command of theirs."""

    NAME: ClassVar[str]
    """Its id in the table of commands."""
    DEFAULT_CSS = """
    View { height: 1fr; }
    View > .trouble { color: $text-error; height: auto; display: none; }
    View .pane { border: round $primary 60%; border-title-style: bold; border-title-color: $foreground;
        border-subtitle-color: $foreground 70%; }
    View .pane:focus-within, View .pane:focus { border: round $accent; }
    """

    def __init__(self) -> None:
        super().__init__(id=self.NAME)
        self.snapshot = Snapshot()

    @property
    def room(self) -> ControlRoom:
        """The app, by its own type."""
        from control_room.ui.app import ControlRoom  # the app imports the views

        if not isinstance(self.app, ControlRoom):
            raise TypeError("a view belongs to the control room")
        return self.app

    def hint(self, text: str) -> str:
        """`text` with keys in place of command ids in braces, see `commands.hint`."""
        return hint(text, self.room.table)

    def compose(self) -> ComposeResult:
        """A place for its error, and its content."""
        yield Static("", classes="trouble", markup=False)
        yield from self.content()

    def content(self) -> ComposeResult:
        """What it consists of."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot) -> None:
        """Shows `snapshot`."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        """Draws.

        Failure policy: open. Whatever goes wrong in a view is shown in it; the others go on.
        """
        self.snapshot = snapshot
        try:
            self.draw(snapshot)
        except Exception as error:  # noqa: BLE001 - a view that raises would take the whole screen with it
            self.trouble(f"this view cannot be drawn: {type(error).__name__}: {error}")
        else:
            self.trouble("")

    def trouble(self, sentence: str) -> None:
        """Shows an error above the content, or takes it away."""
        place = self.query_one(".trouble", Static)
        place.display = bool(sentence)
        if sentence:
            place.update(harmless(sentence, 500))

    def focus_content(self) -> None:
        """Gives the focus to the first list of the view."""
        for found in self.query(LineList):
            if found.can_focus:
                found.focus()
                return


def stale(part: Part[Any]) -> str:
    """Why and since when a part is old; empty where it is not."""
    if not part.error:
        return ""
    age = f", {duration(part.age_s)} old" if part.value is not None else ""
    return f"stale{age}: {harmless(part.error, 200)}" if part.value is not None else harmless(part.error, 200)
