"""Choosing a CSV file: those that were sent lately, the dataset, and a tree of folders; or a path that is typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import orjson
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

import dataset
from control_room.ui.csv_tree import SUFFIX, CsvTree
from control_room.ui.dialogs import Prompt
from control_room.ui.widgets.chrome import short_path
from control_room.ui.widgets.line_list import Column, LineList
from control_room.verify.files import RUN

RECENT: Final = 8


@dataclass(frozen=True, slots=True)
class Known:
    """A file that need not be looked for."""

    path: Path
    words: str


class FilePicker(ModalScreen[Path | None]):
    """Dismissed with the chosen file, or None."""

    DEFAULT_CSS = """
    FilePicker { align: center middle; }
    FilePicker #picker { width: 90%; max-width: 110; height: 90%; }
    FilePicker #known { height: auto; max-height: 12; min-height: 3; border: round $primary 60%; background: $surface; }
    FilePicker #tree { height: 1fr; border: round $primary 60%; background: $surface; padding: 0 1; }
    FilePicker #known:focus, FilePicker #tree:focus { border: round $accent; }
    FilePicker #picker-keys { height: auto; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", show=False, id="dialog_leave"),
        Binding("enter", "choose", show=False, id="dialog_choose"),
        Binding("slash", "type", show=False),
    ]

    def __init__(self, now: Path, root: Path) -> None:
        """`now`: the file chosen before; `root`: where the tree begins."""
        super().__init__()
        self._now = now
        self._root = root
        self._known: Sequence[Known] | None = None

    def compose(self) -> ComposeResult:
        """Both lists."""
        with Vertical(id="picker"):
            known = LineList[Known](
                [
                    Column[Known]("", 20, lambda each: short_path(each.path), grows=True),
                    Column[Known]("", 22, lambda each: (each.words, "dim")),
                ],
                lambda each: str(each.path),
                id="known",
                header=False,
            )
            yield known
            tree = CsvTree(self._root, id="tree")
            tree.border_title = "CSV files"
            yield tree
            yield Static(
                "enter chooses · tab other list · backspace folder above · / types a path · esc leaves",
                id="picker-keys",
                markup=False,
            )

    def on_mount(self) -> None:
        """It begins with the files that are known."""
        self.query_one("#known", LineList).focus()
        self._show_known()

    def know(self, files: Sequence[Known]) -> None:
        """These need not be looked for; the one that was chosen before is under the cursor."""
        self._known = files
        self._show_known()

    def _show_known(self) -> None:
        # They may come before the box is there, and after it was left.
        for known in self.query("#known").results(LineList):
            known.border_title = "Sent lately, and what comes with it"
            if self._known is None:
                known.border_title += ": looking …"
                return
            known.show(self._known)
            known.go_to(str(self._now))

    def on_line_list_opened(self) -> None:
        """A click on the line under the cursor."""
        self.action_choose()

    def on_csv_tree_chosen(self, event: CsvTree.Chosen) -> None:
        """Enter, or a click, on a file of the tree."""
        self.dismiss(event.path)

    def action_choose(self) -> None:
        """Enter on the list; while nothing is known yet there is nothing to choose."""
        known: LineList[Known] = self.query_one("#known", LineList)
        if known.current is not None:
            self.dismiss(known.current.path)

    def action_type(self) -> None:
        """A path as text."""

        def given(text: str | None) -> None:
            if text:
                self.dismiss(Path(text).expanduser())

        self.app.push_screen(Prompt("The CSV file", short_path(self._now), "a path", check_file, slow=True), given)

    def action_cancel(self) -> None:
        """Escape."""
        self.dismiss(None)


def check_file(text: str) -> None:
    """Raises ValueError where there is no such file."""
    try:
        there = Path(text).expanduser().is_file()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{text[:200]} cannot be looked at: {error}") from error
    if not there:
        raise ValueError(f"there is no file {text[:200]}")


def known_files(run_dirs: Iterable[Path]) -> list[Known]:
    """Files that the runs in `run_dirs`, newest first, were made of, then those of the dataset.

    Failure policy: open. A run that cannot be read names no file.
    """
    found: dict[Path, str] = {}
    for run_dir in run_dirs:
        path = _source(run_dir)
        if path is not None and path.is_file() and path not in found and len(found) < RECENT:
            found[path] = f"sent by {run_dir.name[:15]}"
    for path in sorted(dataset.PAYMENTS.parent.glob(f"*{SUFFIX}")):
        found.setdefault(path, "the dataset")
    return [Known(path, words) for path, words in found.items()]


def _source(run_dir: Path) -> Path | None:
    try:
        return Path(orjson.loads((run_dir / RUN).read_bytes())["settings"]["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
