"""A redelivery from the screen: of which transactions, in words, and as the same on a command line."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from control_room.tracking.listing import DONE

if TYPE_CHECKING:
    from control_room.tracking.transactions import TransactionRow

_IDS: Final = 50
"""As many as stand whole on a line of the activity."""
_CHUNK: Final = 500
_TURN_S: Final = 0.002
"""Between two chunks: the screen's thread gets its turn."""


@dataclass(frozen=True, slots=True)
class Askable:
    """Those of a list that can be redelivered."""

    ids: Sequence[str]
    dead: int
    """Of these, how many are dead-lettered."""
    left: int
    """How many are still on their way."""

    @property
    def title(self) -> str:
        """What is asked."""
        return f"Redeliver {len(self.ids):,} transaction{'s' * (len(self.ids) != 1)}"

    @property
    def said(self) -> list[str]:
        """What is to be known before."""
        delivered = len(self.ids) - self.dead
        said = [f"{delivered:,} delivered, {self.dead:,} dead-lettered. The merchant gets each under its own id again."]
        return [*said, *([f"Left alone, for still on the way: {self.left:,}."] if self.left else [])]


def askable(rows: Sequence[TransactionRow], show: Callable[[str, float], object] | None = None) -> Askable:
    """Looks at each of `rows`; where `show` is given it is told how far that is, and others get their turn."""
    ids, dead = [], 0
    for begin in range(0, len(rows), _CHUNK):
        for row in rows[begin : begin + _CHUNK]:
            if row.state in DONE:
                ids.append(row.transaction_id)
                dead += row.state == "dead"
        if show is not None:
            show(f"{begin:,} of {len(rows):,}", begin / len(rows))
            time.sleep(_TURN_S)
    return Askable(ids, dead, len(rows) - len(ids))


def redeliver_command(ids: Sequence[str], chosen: str, reason: str) -> str:
    """`redeliver …`: by the filter `chosen` where it is not empty, else by `ids`."""
    what = f"--filter {shlex.quote(chosen)}" if chosen else " ".join(ids[:_IDS])
    more = " …" * (not chosen and len(ids) > _IDS)
    return f"redeliver {what}{more}{f' --reason {shlex.quote(reason)}' if reason else ''} --yes"
