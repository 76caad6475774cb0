"""Questions before something happens. Cancel has the focus; escape is always no."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, Input, Label, Static

from control_room.tracking.text import harmless
from control_room.ui.commands import TABLE, Command, hint
from control_room.ui.widgets.line_list import Column, LineList

_CSS = """
#box { width: 90%; max-width: 100; height: auto; max-height: 90%; border: round $primary; background: $surface;
       padding: 0 1; }
#said { height: auto; max-height: 12; }
#title { text-style: bold; }
#error { color: $text-error; height: auto; }
#buttons { height: auto; align-horizontal: right; }
Button { margin: 0 0 0 1; min-width: 10; height: 1; border: none; }
Button:focus { text-style: bold reverse; }
"""


def table_of(screen: Screen[Any]) -> Sequence[Command]:
    """The commands with the keys that they have in this app."""
    return getattr(screen.app, "table", TABLE)


class Ask(ModalScreen[str | None]):
    """A question with answers. Dismissed with the chosen answer's id, or None."""

    DEFAULT_CSS = "Ask { align: center middle; }" + _CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer('')", show=False),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, said: Sequence[str], answers: Sequence[tuple[str, str]]) -> None:
        """`answers`: id and label; a Cancel stands before them and has the focus."""
        super().__init__()
        self._title = title
        self._said = said
        self._answers = answers

    def compose(self) -> ComposeResult:
        """The box."""
        with VerticalScroll(id="box", can_focus=False):
            yield Label(harmless(self._title, 200), id="title", markup=False)
            yield Static("\n".join(harmless(line, 600) for line in self._said), id="said", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel")
                for name, label in self._answers:
                    yield Button(label, id=f"answer-{name}", variant="warning")

    def on_mount(self) -> None:
        """Cancel has the focus: nothing happens by a key that was meant for something else."""
        self.query_one("#cancel", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        name = event.button.id or ""
        self.dismiss(name.removeprefix("answer-") if name.startswith("answer-") else None)

    def action_answer(self, name: str) -> None:
        """Escape."""
        self.dismiss(name or None)


class Prompt(ModalScreen[str | None]):
    """One line of text. Dismissed with it, or None."""

    DEFAULT_CSS = "Prompt { align: center middle; }" + _CSS
    AUTO_FOCUS = "#text"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    class Checked(Message):
        """A text was looked at."""

        def __init__(self, text: str, problem: str = "") -> None:
            super().__init__()
            self.text = text
            self.problem = problem

    def __init__(
        self,
        title: str,
        value: str = "",
        hint: str = "",
        check: Callable[[str], object] = lambda _: None,
        *,
        slow: bool = False,
    ) -> None:
        """`check` raises ValueError with a sentence for a text that will not do; it is shown, and the box stays.

        `slow`: it looks at a disk, which may hang, and is called in a thread that nobody waits for.
        """
        super().__init__()
        self._slow = slow
        self._title = title
        self._value = value
        self._hint = hint
        self._check = check

    def compose(self) -> ComposeResult:
        """The box."""
        with VerticalScroll(id="box", can_focus=False):
            yield Label(harmless(self._title, 200), id="title", markup=False)
            yield Input(self._value, id="text", compact=True)
            yield Static(self._hint, id="said", markup=False)
            yield Static("", id="error", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Takes the text where it will do."""
        if not self._slow:
            self._answer(self._checked(event.value))
            return
        self.query_one("#error", Static).update("looking …")
        threading.Thread(target=self._look, args=(event.value,), name="prompt", daemon=True).start()

    def _look(self, text: str) -> None:
        """In a thread."""
        checked = self._checked(text)
        with suppress(RuntimeError):  # the app was left meanwhile, its loop is closed
            self.post_message(checked)

    def _checked(self, text: str) -> Checked:
        try:
            self._check(text)
        except ValueError as error:
            return self.Checked(text, harmless(error, 300))
        return self.Checked(text)

    def on_prompt_checked(self, event: Checked) -> None:
        """What a slow look has found, unless the text is another by now."""
        event.stop()
        if event.text == self.query_one("#text", Input).value:
            self._answer(event)

    def _answer(self, checked: Checked) -> None:
        if checked.problem:
            self.query_one("#error", Static).update(checked.problem)
        elif self.is_current:
            self.dismiss(checked.text)

    def action_cancel(self) -> None:
        """Escape."""
        self.dismiss(None)


@dataclass(frozen=True, slots=True)
class Choice:
    """One line to choose from."""

    key: str
    title: str
    words: str


Chosen = TypeVar("Chosen")


class _ListBox(ModalScreen[Chosen | None]):
    """A list in a box."""

    DEFAULT_CSS = "_ListBox { align: center middle; } _ListBox #list { height: 16; max-height: 60vh; }" + _CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", show=False, id="dialog_leave"),
        Binding("enter", "choose", show=False, id="dialog_choose"),
    ]
    MARKS: ClassVar[bool] = False
    HINT: ClassVar[str]

    def __init__(self, title: str, choices: Sequence[Choice], *, title_width: int = 20) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._title_width = title_width

    def compose(self) -> ComposeResult:
        """The box."""
        columns = [
            Column[Choice]("", self._title_width, lambda choice: choice.title),
            Column[Choice]("", 10, lambda choice: (choice.words, "dim"), grows=True),
        ]
        with VerticalScroll(id="box", can_focus=False):
            yield Label(harmless(self._title, 200), id="title", markup=False)
            yield LineList[Choice](columns, lambda choice: choice.key, id="list", header=False, marks=self.MARKS)
            yield Static(hint(self.HINT, table_of(self)), id="said", markup=False)

    def on_mount(self) -> None:
        """Fills the list."""
        self._list.show(self._choices)
        self._list.focus()

    @property
    def _list(self) -> LineList[Choice]:
        found: LineList[Choice] = self.query_one("#list", LineList)
        return found

    def on_line_list_opened(self) -> None:
        """A click on the chosen line."""
        self.action_choose()

    def action_choose(self) -> None:
        """Enter."""
        raise NotImplementedError

    def action_cancel(self) -> None:
        """Escape."""
        self.dismiss(None)


class Choose(_ListBox[str]):
    """A list to choose from. Dismissed with the key of the choice, or None."""

    HINT = "{dialog_choose} chooses · {dialog_leave} leaves"

    def action_choose(self) -> None:
        """Enter."""
        chosen = self._list.current
        self.dismiss(None if chosen is None else chosen.key)


class ChooseSome(_ListBox[Sequence[str]]):
    """A list to choose one or several from. Dismissed with the keys of the choices, in their order, or None."""

    MARKS = True
    HINT = "{list_mark} marks several · {dialog_choose} takes them, or the one under the cursor · {dialog_leave} leaves"

    def __init__(
        self, title: str, choices: Sequence[Choice], marked: Collection[str] = (), *, title_width: int = 20
    ) -> None:
        """`marked`: keys that are marked already."""
        super().__init__(title, choices, title_width=title_width)
        self._marked = marked

    def on_mount(self) -> None:
        """Marks what is marked."""
        super().on_mount()
        self._list.marked.update(self._marked)

    def action_choose(self) -> None:
        """Enter."""
        self.dismiss([choice.key for choice in self._list.chosen] or None)


class Page(ModalScreen[None]):
    """Text to read, whole; scrolls."""

    DEFAULT_CSS = """
    Page { align: center middle; }
    Page #page { width: 96%; height: 90%; border: round $primary; background: $surface; padding: 0 1; }
    Page #words { height: auto; width: 100%; }
    Page.-unwrapped #words { width: auto; min-width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", show=False, id="dialog_leave"),
        Binding("enter,question_mark", "leave", show=False),
        Binding("y", "copy", show=False, id="dialog_copy"),
        Binding("down,j", "scroll(1)", show=False, id="list_down"),
        Binding("up,k", "scroll(-1)", show=False, id="list_up"),
    ]

    def __init__(self, title: str, lines: Sequence[str], *, wrap: bool = True) -> None:
        """Without `wrap` long lines stay whole and are scrolled to: for tables."""
        super().__init__(classes="" if wrap else "-unwrapped")
        self._title = title
        self._text = "\n".join(harmless(line, 2000) for line in lines)

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll(id="page") as page:
            page.border_title = harmless(self._title, 70).replace("[", "(")
            page.border_subtitle = hint("{dialog_leave} leaves · {dialog_copy} copies", table_of(self))
            yield Static(self._text, id="words", markup=False)

    def on_mount(self) -> None:
        """Arrows scroll."""
        self.query_one("#page").focus()

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Puts all of it on the clipboard."""
        self.app.copy_to_clipboard(self._text)
        self.notify("copied")

    def action_scroll(self, by: int) -> None:
        """A line."""
        self.query_one("#page").scroll_relative(y=by, animate=False)
