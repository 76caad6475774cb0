"""A redelivery from the screen as the same on a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

_IDS: Final = 50
"""As many as stand whole on a line of the activity."""


def redeliver_command(ids: Sequence[str], chosen: str, reason: str) -> str:
    """`redeliver …`: by the filter `chosen` where it is not empty, else by `ids`."""
    what = f"--filter {shlex.quote(chosen)}" if chosen else " ".join(ids[:_IDS])
    more = " …" * (not chosen and len(ids) > _IDS)
    return f"redeliver {what}{more}{f' --reason {shlex.quote(reason)}' if reason else ''} --yes"
