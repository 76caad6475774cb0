"""Reads a tracking record: the snapshot of any moment of a run, at once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from control_room.tracking.parts import Part
from control_room.tracking.record.form import KEPT_PARTS, from_tree
from control_room.tracking.record.lines import Moment, moments
from control_room.tracking.record.writer import BEAT_S
from control_room.tracking.snapshot import Snapshot

GAP_S: Final = 3 * BEAT_S
"""Without a line for so long, nobody recorded."""


@dataclass(frozen=True, slots=True)
class Record:
    """All moments of a run, oldest first. Neighbours share what did not change between them."""

    moments: tuple[Moment, ...]
    damage: str = ""
    """Why it ends where it ends, in a sentence; empty where it is whole or only its last line was torn."""

    def at(self, moment_s: float) -> Snapshot | None:
        """What was known at `moment_s` (Unix); None before the first moment. Raises ValueError: of another version."""
        place = bisect_right(self.moments, moment_s, key=lambda moment: moment.at_s) - 1
        if place < 0:
            return None
        moment = self.moments[place]
        since_s = max(0.0, moment_s - moment.at_s)
        snapshot = from_tree(moment.tree, moment.ages_s, moment_s, place + 1)
        return _aged(snapshot, since_s)


def _aged(snapshot: Snapshot, since_s: float) -> Snapshot:
    """What was stale has grown older since the line; where nobody recorded, everything is."""
    silent = f"nothing was recorded for {since_s:.0f} s" if since_s > GAP_S else ""
    changes: dict[str, Any] = {}
    for name in KEPT_PARTS:
        part: Part[Any] = getattr(snapshot, name)
        if silent or part.error:
            changes[name] = replace(part, error=part.error or silent, age_s=part.age_s + since_s)
    return replace(snapshot, **changes)


def read_record(path: Path) -> Record | None:
    """The record in `path`; None where there is none, or nothing of it can be read.

    Failure policy: open. A torn last line is left out; a damaged one ends the record, and `damage` says so.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    whole = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    found: list[Moment] = []
    damage = ""
    try:
        for moment in moments(whole):
            found.append(moment)  # one by one: those before the damage stay
    except ValueError as error:
        damage = f"the tracking record is damaged: {error}"
    return Record(tuple(found), damage) if found else None
