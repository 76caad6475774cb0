"""The first moments of a process: until its own handlers are in place, a signal means "leave", with 0 and no traceback.

Imports next to nothing, so that it is in force before the libraries that take half a second to load.
"""

from __future__ import annotations

import os
import signal


def leave_on_signals() -> None:
    """From now on, until others take over, SIGTERM and SIGINT end the process at once: nothing was begun yet."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
