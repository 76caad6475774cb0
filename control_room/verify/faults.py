"""Reading the fault log: what was done to the stack while the run was on, and whether it was seen to work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control_room.verify.chained import Record, records, shaped
from control_room.verify.files import FAULTS
from control_room.verify.manifest import EvidenceError

ENDING: Final = frozenset({"kill", "crash", "stop", "restart", "rolling-restart"})
"""Faults after which a member is another process than before."""
_LINK: Final = re.compile("[:→>]")
_EVERYTHING: Final = frozenset({"all", "everything", "stack", "*"})


@dataclass(slots=True)
class Fault:
    """One fault, from its announcement to its end."""

    number: int
    name: str
    target: str
    at: float
    """Unix seconds at which it was announced, just before it was applied."""
    expect: str = ""
    verified: bool = False
    """Whether evidence showed its effect."""
    evidence_at: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    healed_at: float = 0.0
    """Unix seconds; 0 where it was never undone."""
    heal_ok: bool | None = None

    def hits(self, member: str) -> bool:
        """Whether it was aimed at a member itself: by name (`kafka` means each broker), in a list, or at everything.

        A link (`dispatcher:merchant-server`) is not a member.
        """
        if _LINK.search(self.target):
            return False
        words = set(re.split(r"[^A-Za-z0-9*-]+", self.target))
        return bool(words & _EVERYTHING) or any(word == member or word.startswith(f"{member}-") for word in words)

    def on_link(self, client: str, server: str) -> bool:
        """Whether it was aimed at the link of `client` to `server` (`kafka` means each broker)."""
        dialler, link, behind = self.target.partition(":")
        return bool(link) and dialler == client and (behind == server or behind.startswith(f"{server}-"))

    def within(self, begin: float, end: float) -> bool:
        """Whether it was on at any moment between two Unix times."""
        return self.at <= end and max(self.at, self.healed_at, self.evidence_at) >= begin

    def to_json(self) -> dict[str, Any]:
        """For verdict.json."""
        return {
            "fault": self.number,
            "name": self.name,
            "target": self.target,
            "at": self.at,
            "expect": self.expect,
            "verified": self.verified,
            "facts": dict(self.facts),
            "healed_at": self.healed_at or None,
            "heal_ok": self.heal_ok,
        }


def read_faults(run_dir: Path) -> list[Fault]:
    """The faults of a run, in order; none where there is no fault log.

    Kinds of lines that this version does not know are passed over: they cannot make a fault verified.

    Raises:
        EvidenceError: a gap, a changed line, evidence of a fault that was never announced, or a number used twice.
    """
    faults: dict[int, Fault] = {}
    with shaped(FAULTS):
        for record in records(run_dir / FAULTS):
            if record["k"] == "apply":
                number = int(record["fault"])
                if number in faults:
                    raise EvidenceError(f"{FAULTS}: fault {number} is announced twice")
                faults[number] = Fault(
                    number,
                    str(record["name"]),
                    str(record["target"]),
                    float(record["at"]),
                    str(record.get("expect") or ""),
                )
            elif record["k"] in ("evidence", "heal"):
                _follow(faults, record)
    return list(faults.values())


def _follow(faults: dict[int, Fault], record: Record) -> None:
    fault = faults.get(int(record["fault"]))
    if fault is None:
        raise EvidenceError(f"{FAULTS}: a line speaks of fault {record['fault']}, which was never announced")
    ok = record["ok"] is True
    if record["k"] == "heal":
        fault.healed_at, fault.heal_ok = float(record["at"]), ok
    elif ok or not fault.verified:
        fault.verified, fault.evidence_at, fault.facts = ok, float(record["at"]), dict(record.get("facts") or {})
