"""Commands that widgets do, not the app: moving in lists, leaving dialogs. They stand in the table of commands too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from control_room.ui.command import Command

FIXED: Final = frozenset({"left", "right", "tab", "shift+tab", "ctrl+q", "ctrl+c"})
"""Keys that move between panes or answers, or end the app, whatever the table says: nothing else can have them."""
WIDGETS: Final[Mapping[str, str]] = {"list": "Moving in lists", "dialog": "Dialogs"}
"""Places whose commands are done by widgets, not by the app: their ids are those of Textual's bindings."""

OF_WIDGETS: Final = (
    Command("list_up", "up,k", "up", "One row up.", "list"),
    Command("list_down", "down,j", "down", "One row down.", "list"),
    Command("list_page_up", "pageup,ctrl+b", "page up", "A screen up.", "list"),
    Command("list_page_down", "pagedown,ctrl+f", "page down", "A screen down.", "list"),
    Command("list_first", "home,g", "first", "To the first row.", "list"),
    Command("list_last", "end,G", "last", "To the last row.", "list"),
    Command("list_mark", "space", "mark", "Mark the row, or take the mark away.", "list"),
    Command("dialog_leave", "escape,q", "leave", "Leave a list or a page; a question is left by escape.", "dialog"),
    Command("dialog_choose", "enter", "choose", "Take what is under the cursor.", "dialog"),
    Command("dialog_copy", "y", "copy", "Copy the whole page.", "dialog"),
)


def widget_keys(table: Iterable[Command]) -> dict[str, str]:
    """The keys of widgets that are others than by default, by the ids of their bindings: a keymap of Textual's."""
    usual = {each.id: each.key for each in OF_WIDGETS}
    return {each.id: each.key for each in table if usual.get(each.id, each.key) != each.key}
