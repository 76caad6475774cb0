"""Crash points: named lines at which a service ends itself at once, as a power cut would.

For tests of the promise only. They exist where `CRASH_POINTS` names a folder. A point is armed for one member by a
file in it (`arm_file`); the first to reach the point takes the file away and is gone, so each arming ends one process
once. Without the setting `point` is a function that does nothing, chosen when this module is loaded: one empty call
per batch or delivery.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from services.common.identity import own_name

SETTING: Final = "CRASH_POINTS"


class CrashPoint(NamedTuple):
    """One named line."""

    exit_code: int
    """The process's exit status: no other end of a service has it."""
    where: str
    """Between what and what it dies."""
    reached: str
    """What must happen for the line to be reached."""
    linger_s: float = 0.0
    """How long the thread stands still first, where something that others do must be over."""


POINTS: Final[Mapping[str, CrashPoint]] = {
    "api.after-commit": CrashPoint(81, "after COMMIT, before any 201 of the group", "the replica accepts a payment"),
    "api.before-produce": CrashPoint(
        82, "after the group's 201s, before it goes to Kafka", "the replica accepts a payment", linger_s=0.3
    ),
    "publisher.after-claim": CrashPoint(
        83, "holding a lease, before anything is produced", "a row of the outbox is older than the publisher's grace"
    ),
    "publisher.before-mark": CrashPoint(
        84, "after Kafka acknowledged, before the row is marked", "the publisher brings a row to Kafka"
    ),
    "dispatcher.after-2xx": CrashPoint(85, "after the merchant's 2xx, before it is recorded", "a delivery succeeds"),
    "dispatcher.before-commit": CrashPoint(
        86, "after the outcome is recorded, before its offset is committed", "a delivery or a re-queue is recorded"
    ),
    "dispatcher.requeue-unreported": CrashPoint(
        87, "after a re-queue lies in Kafka, before its report completes the original", "a round is exhausted"
    ),
    "dispatcher.in-rebalance": CrashPoint(
        88, "while partitions are being given or taken", "the dispatcher's group rebalances"
    ),
}
"""Exit codes are neither those that Python, a shell or a signal gives, nor the services' own."""


def arm_file(folder: Path, member: str, name: str) -> Path:
    """The file whose being there arms the point `name` in `member`."""
    return folder / f"{member}.{name}"


def chosen_by(environ: Mapping[str, str]) -> Callable[[str], None]:
    """What a process of this environment does at a crash point: nothing, or end itself where the point is armed."""
    folder = environ.get(SETTING)
    if not folder:
        return _pass
    member = environ.get("MEMBER_NAME") or own_name()

    def end_if_armed(name: str) -> None:
        try:
            arm_file(Path(folder), member, name).unlink()  # looking and disarming in one step: one arming, one end
        except OSError:
            return
        reached = POINTS[name]
        time.sleep(reached.linger_s)
        os.write(2, f"crash point {name} reached: ending with {reached.exit_code}\n".encode())
        os._exit(reached.exit_code)

    return end_if_armed


def _pass(name: str) -> None:
    pass


point: Final = chosen_by(os.environ)
"""Call it at the line, with the point's name."""
