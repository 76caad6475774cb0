"""A tree of folders and CSV files. Each folder is read in a thread of its own that nobody waits for.

Textual's DirectoryTree is not used: it awaits what it reads, so that a disk which hangs would keep its screen from
opening and the app from being left.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from control_room.tracking.text import harmless

SUFFIX: Final = ".csv"


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in a folder: no hidden names, and of files CSV files alone."""

    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    error: str = ""
    """Why it cannot be read."""


def read_folder(path: Path) -> Folder:
    """The folder's content, by name. Failure policy: open, what cannot be read is told in `error`."""
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(Path(entry.path))
                elif entry.name.lower().endswith(SUFFIX):
                    files.append(Path(entry.path))
    except OSError as error:
        return Folder(error=error.strerror or type(error).__name__)
    return Folder(_by_name(folders), _by_name(files))


def _by_name(paths: list[Path]) -> tuple[Path, ...]:
    return tuple(sorted(paths, key=lambda each: each.name.lower()))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class CsvTree(Tree[Path]):
    """Folders and CSV files; nothing that is hidden. A node without data is a remark."""

    ICON_NODE_EXPANDED = "▾ "
    ICON_NODE = "▸ "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor_down", show=False, id="list_down"),
        Binding("up,k", "cursor_up", show=False, id="list_up"),
        Binding("backspace", "parent_folder", show=False),
    ]

    class Chosen(Message):
        """A file was chosen: enter, or a click."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class Found(Message):
        """A folder was read."""

        def __init__(self, node: TreeNode[Path], root: TreeNode[Path], folder: Folder) -> None:
            super().__init__()
            self.node = node
            self.root = root
            self.folder = folder

    def __init__(self, root: Path, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(str(root), root, id=id)

    def on_mount(self) -> None:
        """Begins with the folder of the root."""
        self.root.expand()

    def process_label(self, label: str | Text) -> Text:
        """A file's name is somebody else's: what it could do to the screen is taken out."""
        return Text(harmless(str(label), 200) or "?")

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Path]) -> None:
        """A folder is read each time it is opened."""
        event.stop()
        node, path = event.node, event.node.data
        if path is None:
            return
        node.remove_children()
        node.add_leaf("reading it …")
        threading.Thread(target=self._read, args=(node, self.root, path), name="folder", daemon=True).start()

    def _read(self, node: TreeNode[Path], root: TreeNode[Path], path: Path) -> None:
        """In a thread."""
        found = read_folder(path)
        with suppress(RuntimeError):  # the app was left meanwhile, its loop is closed
            self.post_message(self.Found(node, root, found))

    def on_csv_tree_found(self, event: Found) -> None:
        """Shows it, unless the tree is another by now."""
        event.stop()
        node, found = event.node, event.folder
        if event.root is not self.root or not node.is_expanded:
            return
        node.remove_children()
        for path in found.folders:
            node.add(path.name, path)
        for path in found.files:
            node.add_leaf(path.name, path)
        if found.error:
            node.add_leaf(f"cannot be read: {found.error}")
        elif not node.children:
            node.add_leaf("no folder and no CSV file in it")

    def on_tree_node_selected(self, event: Tree.NodeSelected[Path]) -> None:
        """A file is chosen; a folder opens or closes by itself."""
        event.stop()
        if event.node.data is not None and not event.node.allow_expand:
            self.post_message(self.Chosen(event.node.data))

    def action_parent_folder(self) -> None:
        """The folder that the tree's own lies in."""
        above = (self.root.data or Path()).absolute().parent
        self.reset(str(above), above)
        self.root.expand()
        self.move_cursor(self.root)
