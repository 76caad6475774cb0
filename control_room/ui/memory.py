"""What the control room remembers of a state folder from one time to the next: the view, the order and the filter of
the transactions, the level and the members of the logs.

It lies among the user's own state, not in the stack's folder: looking changes nothing there.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from platformdirs import user_state_path

from control_room.stack.runtime import MEMBERS, alike
from control_room.tracking.filter import parse_filter
from control_room.tracking.listing import Order, Query
from control_room.ui.commands import VIEWS
from control_room.ui.log_search import LEVELS
from control_room.ui.settings import APP
from control_room.verify.durable import write_whole

LAST_WRITE_S: Final = 0.3
"""How long leaving waits for the last write: a stuck disk must not keep anybody."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """How the app was left. Empty: as it is at first."""

    view: str = ""
    order: str = ""
    filter: str = ""
    log_level: str = ""
    log_members: tuple[str, ...] = ()

    @property
    def query(self) -> Query:
        """What the list of transactions is to show. Raises ValueError: no such order, or no filter."""
        return Query(parse_filter(self.filter), Order(self.order or Order.NEWEST))


def memory_path(state_dir: Path) -> Path:
    """The file that remembers for a state folder; XDG_STATE_HOME moves it."""
    whole = str(state_dir.absolute())
    name = f"{state_dir.absolute().parent.name}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}.json"
    return user_state_path(APP, appauthor=False) / "rooms" / name


def _remembered(told: Any) -> Remembered:
    """What a file says. Raises ValueError, KeyError, TypeError, AttributeError: it is broken."""
    view, order, words = (str(told[name]) for name in ("view", "order", "filter"))
    members = tuple(map(str, told.get("log_members", ())))
    found = Remembered(view, order, words, str(told.get("log_level", "")), members)
    if found.view not in VIEWS:
        raise ValueError(f"there is no view {found.view[:40]!r}")
    if found.log_level not in ("", *LEVELS) or not {alike(name) for name in found.log_members} <= set(MEMBERS):
        raise ValueError("there is no such level or member of the logs")
    _ = found.query
    return found


class Memory:
    """One file, read at the start and written, in a thread, whenever something has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._wanted = Remembered()
        self._writer: threading.Thread | None = None
        self.error = ""
        """Why the newest write failed."""

    def read(self) -> tuple[Remembered, str]:
        """What is remembered, and a note where the file was ignored.

        Failure policy: open. A broken file is ignored as a whole: the next change replaces it.
        """
        try:
            told = orjson.loads(self._path.read_bytes())
            found = _remembered(told)
        except FileNotFoundError:
            return Remembered(), ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            return Remembered(), f"what was remembered is ignored, {self._path} is broken: {str(why)[:200]}"
        self._wanted = found
        return found, ""

    def keep(self, now: Remembered) -> None:
        """Has `now` written where it is another than before; returns at once."""
        if now == self._wanted:
            return
        self._wanted = now
        self._writer = threading.Thread(target=self._write, name="remember", daemon=True)
        self._writer.start()

    def settle(self, timeout_s: float = LAST_WRITE_S) -> None:
        """Waits for the last write, no longer than `timeout_s`."""
        if self._writer is not None:
            self._writer.join(timeout_s)

    def _write(self) -> None:
        """Failure policy: open. What cannot be written is forgotten, and told."""
        with self._lock:  # one writer after the other, each with the newest values
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._path, orjson.dumps(asdict(self._wanted)))
                self.error = ""
            except OSError as error:
                self.error = f"the view cannot be remembered: {self._path}: {error.strerror}"
