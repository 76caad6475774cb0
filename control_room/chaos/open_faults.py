"""Which faults are open, from the journal alone: so any process can heal what another one applied and died of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.journal import FaultJournal
from control_room.chaos.merchant_fault import MerchantBehaviour


@dataclass(frozen=True, slots=True)
class OpenFault:
    """A fault that was announced and is not undone."""

    number: int
    name: str
    target: str
    at_s: float
    """Unix time at which it was announced."""
    expect: str
    verified: bool
    """Whether its effect was seen."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it remembered before it was applied."""
    until_s: float | None = None
    """Unix time at which it was to be healed; None where nobody said."""
    injector: Mapping[str, Any] | None = None
    """Pid and start time of the process that means to heal it; None where a person does."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "fault": self.number,
            "name": self.name,
            "target": self.target,
            "at": self.at_s,
            "expect": self.expect,
            "verified": self.verified,
        }


def open_faults(state_journal: Path) -> list[OpenFault]:
    """The open faults, oldest first. Raises JournalError where the journal cannot be trusted."""
    return still_open(FaultJournal(state_journal).records())


def still_open(records: Iterable[Mapping[str, Any]]) -> list[OpenFault]:
    """The faults of `records` that nothing closed.

    A heal that was seen to work closes any fault. One that is not lasting is closed by its own evidence too; without,
    it (or its injector) failed half-way, and its member may be down.
    """
    found: dict[int, OpenFault] = {}
    for record in records:
        number = record["fault"]
        if record["k"] == "apply":
            found[number] = OpenFault(
                number,
                record["name"],
                record["target"],
                record["at"],
                record["expect"],
                False,
                record.get("before", {}),
                record.get("until"),
                record.get("injector"),
            )
        elif record["k"] == "evidence" and number in found:
            old = found[number]
            lasting = old.name not in CATALOGUE or CATALOGUE[old.name].lasting
            if record["ok"] and not lasting:
                del found[number]
            else:
                found[number] = replace(old, verified=record["ok"])
        elif record["k"] == "heal" and record["ok"]:
            found.pop(number, None)
    return list(found.values())


def original_behaviour(already_open: Iterable[OpenFault], before: Mapping[str, Any]) -> dict[str, Any]:
    """What the merchant's fields in `before` were when nothing was laid over them yet.

    A second change of the same field finds the first one's value; the value to go back to in the end is the one that
    the first found.
    """
    originals = dict(before)
    for fault in reversed(_behaviours(already_open)):
        for key, value in fault.facts.get("before", {}).items():
            if key in originals:
                originals[key] = value
    return originals


def behaviour_without(healing: OpenFault, already_open: Iterable[OpenFault]) -> dict[str, Any]:
    """What the merchant's fields must become when `healing` ends while other changes stay.

    A field that a newer open change sets stays as it is; one that an older open change sets gets that one's value; any
    other goes back to what it was before all of them.
    """
    others = [fault for fault in _behaviours(already_open) if fault.number != healing.number]
    restore: dict[str, Any] = {}
    for key, original in healing.facts.get("before", {}).items():
        setting = [fault for fault in others if key in fault.facts.get("set", {})]
        if any(fault.number > healing.number for fault in setting):
            continue
        restore[key] = setting[-1].facts["set"][key] if setting else original
    return restore


def _behaviours(faults: Iterable[OpenFault]) -> list[OpenFault]:
    return sorted((fault for fault in faults if fault.name == MerchantBehaviour.name), key=lambda fault: fault.number)
