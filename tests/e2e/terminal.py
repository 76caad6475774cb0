"""A program in a pseudo-terminal, and the screen that it draws, as a person sees it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

import pyte

from tests.e2e.conftest import wait_for

RIGHT = "\x1b[C"
ENTER = "\r"
ESCAPE = "\x1b"


class Terminal:
    """Runs from `with` to its end; what is left of it then is killed."""

    def __init__(self, command, cwd, environ, columns, lines):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        self._size(columns, lines)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self._reader.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        os.close(self._ours)

    def _read(self):
        while True:
            try:
                chunk = os.read(self._ours, 1 << 16)
            except OSError:  # how Linux tells that nobody holds the other end any more
                return
            with self._lock:
                self._stream.feed(chunk)

    def _size(self, columns, lines):
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """As if its window was dragged."""
        with self._lock:
            self._screen.resize(lines, columns)
        self._size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, *keys):
        """As if typed, one after the other."""
        for key in keys:
            os.write(self._ours, key.encode())

    @property
    def lines(self):
        """What stands on it."""
        with self._lock:
            return list(self._screen.display)

    def line_with(self, *words):
        """The first line that has all of these; empty where none has."""
        return next((line for line in self.lines if all(word in line for word in words)), "")

    def wait_for(self, *words, within_s=30):
        """Waits until one line has all of these."""
        return wait_for(lambda: self.line_with(*words), within_s, f"{words} on the screen", self.text)

    def text(self):
        """The whole screen, for a failure's message."""
        return "\n".join(self.lines)
