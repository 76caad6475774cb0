"""A program in a pseudo-terminal of 160x48, and what it writes, with when it came."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final

import psutil

COLUMNS: Final = 160
LINES: Final = 48
_CURSOR: Final = re.compile(r"\x1b\[(\d+);\d+H|▶")
_LEAVE_S: Final = 5.0
_CHUNK_BYTES: Final = 1 << 16


class Terminal:
    """Runs from `with` to its end; what is left of it then is ended."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environ = {**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._text = io.StringIO()  # a text that grows by adding is copied whole for each part of a screen
        self._more = threading.Condition()
        self._ended = False

    def __enter__(self) -> Terminal:
        """Starts it."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.started_s = time.perf_counter()
        self.process = psutil.Popen(
            self._command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,  # where Textual draws
            env=self._environ,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, name="read-terminal", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it: asked first, then killed."""
        del kind, error, trace
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_LEAVE_S)
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(_LEAVE_S)
        os.close(self._ours)

    def _read(self) -> None:
        """Until the other end is closed."""
        tail = b""
        while True:
            try:
                chunk = os.read(self._ours, _CHUNK_BYTES)
            except OSError:  # how Linux tells that nobody holds the other end any more
                chunk = b""
            with self._more:
                whole = tail + chunk
                text = whole.decode("utf-8", "ignore")
                tail = whole[len(text.encode()) :] if len(whole) - len(text.encode()) < 4 else b""
                self._text.seek(0, io.SEEK_END)
                self._text.write(text)
                self._ended = not chunk
                self._more.notify_all()
            if not chunk:
                return

    @property
    def written(self) -> int:
        """How many characters it wrote so far."""
        with self._more:
            return self._text.seek(0, io.SEEK_END)

    def since(self, begin: int) -> str:
        """What it wrote from there on."""
        with self._more:
            return self._since(begin)

    def _since(self, begin: int) -> str:
        self._text.seek(begin)
        return self._text.read()

    def press(self, key: str) -> None:
        """As if typed."""
        os.write(self._ours, key.encode())

    def wait_for(self, holds: Callable[[str], bool], begin: int, within_s: float) -> float | None:
        """When (by `time.perf_counter`) what it wrote since `begin` held first; None where it did not in time."""
        until_s = time.perf_counter() + within_s
        with self._more:
            while not holds(self._since(begin)):
                left_s = until_s - time.perf_counter()
                if self._ended or left_s <= 0 or not self._more.wait(left_s):
                    return None
            return time.perf_counter()

    def cpu_s(self) -> float:
        """Processor time that it took so far."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def cpu_share(self, seconds: float) -> float:
        """What it takes of one core, over the next `seconds`."""
        before_s, began_s = self.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return (self.cpu_s() - before_s) / (time.perf_counter() - began_s)


def cursor_lines(text: str) -> list[int]:
    """The lines of the screen on which a list's cursor was drawn, in order."""
    found, line = [], 0
    for each in _CURSOR.finditer(text):
        if each[1]:
            line = int(each[1])
        else:
            found.append(line)
    return found
