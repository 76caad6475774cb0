"""Applying and healing faults: announced in the journals first, then done, then seen.

What a program uses: `apply_fault`, `apply_faults`, `preview_fault`, `heal`, `heal_all`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_room.chaos.catalogue import make, on_runtime, remake
from control_room.chaos.errors import FaultError, JournalError, UnavailableError
from control_room.chaos.faults import MERCHANT, Fault
from control_room.chaos.journal import Journals
from control_room.chaos.live import LiveState
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.observe import Evidence
from control_room.chaos.open_faults import OpenFault, behaviour_without, original_behaviour, still_open
from control_room.stack.runtime import Runtime, StackError


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault that was applied, and what was seen of it."""

    number: int
    name: str
    target: str
    at_s: float
    """Unix time at which it was announced."""
    expect: str
    evidence: Evidence
    closed: tuple[int, ...] = ()
    """Numbers of the open faults that it ended."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "fault": self.number,
            "name": self.name,
            "target": self.target,
            "at": self.at_s,
            "expect": self.expect,
            "ok": self.evidence.ok,
            "facts": self.evidence.facts,
            "closed": list(self.closed),
        }


@dataclass(frozen=True, slots=True)
class HealRecord:
    """A fault that was undone, and what was seen of that."""

    fault: OpenFault
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {**self.fault.to_json(), "healed": self.evidence.ok, "facts": self.evidence.facts}


def preview_fault(runtime: Runtime, name: str, target: str, **params: Any) -> str:
    """What the fault would hit now, in a sentence. Raises FaultError or StackError as `apply_fault`."""
    fault = on_runtime(make(name, target, params), runtime)
    _prepare(runtime, fault)
    return fault.preview(LiveState(runtime))


def apply_fault(runtime: Runtime, name: str, target: str, journals: Sequence[Path], **params: Any) -> FaultRecord:
    """Applies one fault and waits for its effect. See `apply_faults`."""
    return apply_faults(runtime, name, [target], journals, **params)[0]


def apply_faults(
    runtime: Runtime,
    name: str,
    targets: Sequence[str],
    journals: Sequence[Path],
    *,
    meant: Mapping[str, Any] | None = None,
    **params: Any,
) -> list[FaultRecord]:
    """Applies the fault `name` to each of `targets`, all of them before the first effect is waited for.

    Args:
        runtime: what runs the stack.
        name: one of the catalogue.
        targets: members; each must be one that the fault can hit and would change.
        journals: the state's journal first, then those of runs (see `journal_paths`).
        meant: who heals it and when (`injector`, `until`), for `overdue`; kept in the journal.
        params: what the fault takes; a merchant's behaviour its fields.

    Raises:
        UnavailableError: this platform or this stack cannot do it.
        FaultError: no such fault or target, it would do nothing, it was refused, or it cannot be journalled. Targets
            before the one that was refused stay hit, and are journalled.
        NotRunningError: there is no stack.

    An effect that was not seen raises nothing: the record says `evidence.ok` False, and a verdict will be UNKNOWN.
    """
    books = Journals.of(journals)
    faults = [on_runtime(make(name, target, params), runtime) for target in dict.fromkeys(targets)]
    for fault in faults:
        _prepare(runtime, fault)
    expected = _expected(runtime, faults)
    under_way = [
        _announce_and_apply(runtime, fault, expect, books, meant or {})
        for fault, expect in zip(faults, expected, strict=True)
    ]
    return [_seen(runtime, each, books) for each in under_way]


def _prepare(runtime: Runtime, fault: Fault) -> None:
    reason = fault.unavailable(runtime)
    if reason is not None:
        raise UnavailableError(f"{fault.name} is not available here: {reason}")
    fault.prepare(runtime)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A fault that was announced and applied, and not seen yet."""

    fault: Fault
    number: int
    at_s: float
    expect: str


def _expected(runtime: Runtime, faults: Sequence[Fault]) -> list[str]:
    """What each will hit, the ones before it counted as hit already. All are asked for before the first is applied:
    with a member dead the sentences take seconds, and what is to die at once would die one after the other."""
    live = LiveState(runtime)
    sentences = []
    for fault in faults:
        sentences.append(fault.preview(live))
        if fault.lasting:
            live.hit.add(fault.target)
    return sentences


def _announce_and_apply(
    runtime: Runtime, fault: Fault, expect: str, books: Journals, meant: Mapping[str, Any]
) -> _UnderWay:
    """Journals the fault, then does it."""
    if isinstance(fault, MerchantBehaviour):
        already_open = still_open(books.state.records())
        fault.facts["before"] = original_behaviour(already_open, fault.facts["before"])
    at_s = time.time()
    number = books.announce(
        {"name": fault.name, "target": fault.target, "at": at_s, "expect": expect, **meant, "before": fault.facts}
    )
    try:
        fault.apply(runtime)
    except (FaultError, StackError) as error:
        refused = {"error": str(error)}
        books.note(number, {"k": "evidence", "at": time.time(), "ok": False, "facts": refused})
        # Whatever it did half-way is undone by the next heal: the fault stays open.
        raise FaultError(f"{fault.name} {fault.target} was not applied: {error}") from error
    return _UnderWay(fault, number, at_s, expect)


def _seen(runtime: Runtime, under_way: _UnderWay, books: Journals) -> FaultRecord:
    """Waits for the effect, journals it, and closes what it ended."""
    fault, number = under_way.fault, under_way.number
    evidence = _evidence(runtime, fault)
    books.note(number, {"k": "evidence", "at": time.time(), "ok": evidence.ok, "facts": evidence.facts})
    closed = []
    for other in still_open(books.state.records()) if evidence.ok else ():
        if other.target == fault.target and other.name in fault.closes:
            facts = {**evidence.facts, "by": f"{fault.name}, fault {number}"}
            books.note(other.number, {"k": "heal", "at": time.time(), "ok": True, "facts": facts})
            closed.append(other.number)
    return FaultRecord(number, fault.name, fault.target, under_way.at_s, under_way.expect, evidence, tuple(closed))


def _evidence(runtime: Runtime, fault: Fault) -> Evidence:
    """Failure policy: closed. A stack that cannot be asked is no evidence."""
    try:
        return fault.evidence(runtime)
    except (FaultError, StackError) as error:
        return Evidence(False, {"error": str(error)})


def heal_all(runtime: Runtime, journals: Sequence[Path]) -> list[HealRecord]:
    """Undoes every open fault, newest first. See `heal`."""
    return heal(runtime, journals)


def heal(
    runtime: Runtime,
    journals: Sequence[Path],
    *,
    numbers: Collection[int] | None = None,
    targets: Collection[str] | None = None,
) -> list[HealRecord]:
    """Undoes open faults, whoever applied them: all of them, or those of `numbers` or on `targets`.

    All are undone before the first is waited for: three dead brokers answer only together. A heal that was not seen to
    work is in the result with `evidence.ok` False; the fault stays open and may be healed again.

    Raises:
        FaultError: one of `numbers` is not open, or the journal cannot be trusted.
        NotRunningError: there is no stack.
    """
    books = Journals.of(journals)
    runtime.endpoints()
    still = still_open(books.state.records())
    chosen = _chosen(still, numbers, targets)
    undone = [(fault, *_undo(runtime, fault, still, chosen)) for fault in reversed(chosen)]
    healed, failures = [], []
    for fault, known, refused in undone:
        evidence = refused or _healed(runtime, known)
        try:
            books.note(fault.number, {"k": "heal", "at": time.time(), "ok": evidence.ok, "facts": evidence.facts})
        except JournalError as error:
            failures.append(str(error))  # the others are to be seen and noted all the same
        healed.append(HealRecord(fault, evidence))
    if failures:
        raise JournalError(f"healed, but not journalled: {'; '.join(failures)}")
    return healed


def _chosen(
    still: Sequence[OpenFault], numbers: Collection[int] | None, targets: Collection[str] | None
) -> list[OpenFault]:
    if numbers is None and targets is None:
        return list(still)
    if unknown := set(numbers or ()) - {fault.number for fault in still}:
        raise FaultError(f"fault {', '.join(map(str, sorted(unknown)))} is not open")
    return [fault for fault in still if fault.number in (numbers or ()) or fault.target in (targets or ())]


def _undo(
    runtime: Runtime, fault: OpenFault, still: Sequence[OpenFault], chosen: Sequence[OpenFault]
) -> tuple[Fault | None, Evidence | None]:
    """Undoes one fault; the fault to look at afterwards, or why it could not be undone."""
    facts: dict[str, Any] = dict(fault.facts)
    if fault.target == MERCHANT and fault.name == MerchantBehaviour.name:
        facts["restore"] = behaviour_without(fault, [other for other in still if other not in chosen])
    try:
        known = on_runtime(remake(fault.name, fault.target, facts), runtime)
        known.heal(runtime)
    except (FaultError, StackError) as error:
        return None, Evidence(False, {"error": str(error)})
    return known, None


def _healed(runtime: Runtime, known: Fault | None) -> Evidence:
    if known is None:
        return Evidence(False, {"error": "this version does not know the fault"})
    try:
        return known.healed(runtime)
    except (FaultError, StackError) as error:
        return Evidence(False, {"error": str(error)})


__all__ = ["FaultRecord", "HealRecord", "apply_fault", "apply_faults", "heal", "heal_all", "preview_fault"]
