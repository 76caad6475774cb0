"""From the files of a run to its verdict. A pure function: it reads the run's folder and nothing else.

Failure policy: closed. Whatever goes wrong here, a damaged file or a defect of the checker, ends in UNKNOWN with the
reason, never in a verdict that somebody could take for a proof.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from control_room.verify.chained import document, shaped
from control_room.verify.classes import VIOLATIONS, Circumstances, TransactionClass
from control_room.verify.crosscheck import CrossCheck, agreement, disagreements, read_crosscheck, shortcomings
from control_room.verify.deliveries import Deliveries
from control_room.verify.faults import ENDING, Fault, read_faults
from control_room.verify.files import DECISIVE, DRAIN, FAULTS, FORMAT, LEDGER, OPERATIONS, REQUIRED, RUN
from control_room.verify.history import Histories
from control_room.verify.ledger import LedgerWindow, read_ledger, read_outside
from control_room.verify.manifest import EvidenceError, Manifest, broken_seals, read_manifest
from control_room.verify.operations import OperationLog, read_operations
from control_room.verify.redeliveries import Redeliveries, read_redeliveries
from control_room.verify.stores import Drain, Stores, last_attempts, read_drain, read_stores
from control_room.verify.tally import Tally
from control_room.verify.verdict import Outcome, StoresAgreement, Verdict


@dataclass(slots=True)
class _Doubts:
    """What keeps the verdict from being proven, apart from violations."""

    unknown: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Violations that are no transaction's class: stores that contradict each other."""


def check(run_dir: Path) -> Verdict:
    """The verdict on the run in `run_dir`. Never raises: a crash of the checker itself is UNKNOWN."""
    try:
        with _no_collection():
            return _check(run_dir)
    except EvidenceError as error:
        return Verdict(run_dir.name, Outcome.UNKNOWN, (f"{error}.",))
    except Exception as error:  # noqa: BLE001 - a checker that fails must say UNKNOWN, whatever made it fail
        return Verdict(run_dir.name, Outcome.UNKNOWN, (f"The checker itself failed: {type(error).__name__}: {error}.",))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of long-lived small objects without cycles: the cycle collector would only walk them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check(run_dir: Path) -> Verdict:
    manifest = read_manifest(run_dir)
    inputs = {name: entry.sha256 for name, entry in manifest.files.items()} | {"manifest.json": manifest.sha256}
    blank = Verdict(manifest.run, Outcome.UNKNOWN, inputs=inputs)
    broken = broken_seals(run_dir, manifest)
    missing = [f"{name} is missing" for name in REQUIRED if name not in manifest.files and name not in broken]
    if missing or broken.keys() & DECISIVE:
        return replace(blank, reasons=tuple(f"{sentence}." for sentence in (*broken.values(), *sorted(missing))))
    doubts = _Doubts(unknown=[f"{sentence}." for sentence in broken.values()])
    try:
        return _judge(run_dir, manifest, blank, doubts)
    except EvidenceError as error:
        return replace(blank, reasons=(*doubts.unknown, f"{error}."))


def _judge(run_dir: Path, manifest: Manifest, blank: Verdict, doubts: _Doubts) -> Verdict:
    begins_at = _run_settings(run_dir, manifest, doubts)
    log = read_operations(run_dir)
    window = read_ledger(run_dir, log.histories, begins_at=int(begins_at["ledger_from"]))
    drain = read_drain(run_dir)
    faults = _faults(run_dir, doubts)
    stores = read_stores(run_dir)
    with shaped(RUN):
        began_at = float(begins_at.get("started_at") or log.started_at)
    circumstances = Circumstances(read_outside(run_dir), stores, drain, log.ended, began_at)
    crosscheck = _crosscheck(run_dir, doubts)
    asked = _redeliveries(run_dir, log.histories, doubts).by_id
    deliveries = Deliveries(log.histories, window.strangers, circumstances, faults, crosscheck, asked=asked)
    _doubt_the_log(log, manifest.run, doubts)
    _doubt_the_ledger(window, drain, faults, doubts)
    _doubt_the_faults(faults, begins_at, doubts)
    _doubt_the_drain(drain, doubts)
    if not stores.complete:
        doubts.notes.append("Postgres could not be asked about every id: delivered ids were not looked up in it.")
    agreed = _compare_stores(crosscheck, deliveries, begins_at, doubts)
    return replace(_count(run_dir, blank, deliveries, stores, doubts), stores=agreed)


def _run_settings(run_dir: Path, manifest: Manifest, doubts: _Doubts) -> dict[str, Any]:
    settings = document(run_dir / RUN)
    with shaped(RUN):
        if settings is None or settings["format"] != FORMAT:
            raise EvidenceError(f"{RUN} is not of format {FORMAT}")
        if settings["run"] != manifest.run:
            doubts.unknown.append(f"{RUN} is of run {settings['run']}, the manifest of run {manifest.run}.")
        if int(settings["ledger_from"]) < 0:
            raise EvidenceError(f"{RUN}: ledger_from is negative")
    return settings


def _faults(run_dir: Path, doubts: _Doubts) -> list[Fault]:
    try:
        return read_faults(run_dir)
    except EvidenceError as error:
        doubts.unknown.append(f"{error}.")
        return []


def _crosscheck(run_dir: Path, doubts: _Doubts) -> CrossCheck | None:
    try:
        return read_crosscheck(run_dir)
    except EvidenceError as error:
        doubts.unknown.append(f"{error}.")
        return None


def _redeliveries(run_dir: Path, histories: Histories, doubts: _Doubts) -> Redeliveries:
    try:
        found = read_redeliveries(run_dir)
    except EvidenceError as error:
        doubts.unknown.append(f"{error}.")
        return Redeliveries()
    doubts.notes += [found.note] if found.note else []
    unsent = found.unsent(histories)
    doubts.broken += [unsent] if unsent else []
    return found


def _compare_stores(
    crosscheck: CrossCheck | None, deliveries: Deliveries, run: dict[str, Any], doubts: _Doubts
) -> StoresAgreement:
    """Whether the stores agree, what of it is a violation and what a note."""
    doubts.notes += shortcomings(crosscheck)
    if crosscheck is None:
        return StoresAgreement()
    with shaped(RUN):
        found = disagreements(
            crosscheck, deliveries.histories, deliveries.circumstances.stores.lines, run, deliveries.faults
        )
    doubts.broken += [one.sentence for one in found if one.violation]
    doubts.notes += [one.sentence for one in found if not one.violation]
    return StoresAgreement(agreement(crosscheck), tuple(found))


def _doubt_the_log(log: OperationLog, run: str, doubts: _Doubts) -> None:
    if not log.ended:
        doubts.unknown.append(f"{OPERATIONS} has no end: the client did not finish, or its last lines are missing.")
    if log.runs != {run}:
        found = ", ".join(sorted(map(str, log.runs))) or "no run"
        doubts.unknown.append(f"{OPERATIONS} was begun by {found}, not by run {run}.")


def _doubt_the_ledger(window: LedgerWindow, drain: Drain | None, faults: list[Fault], doubts: _Doubts) -> None:
    if drain is not None and window.next_line < drain.ledger_next:
        doubts.unknown.append(
            f"{LEDGER} ends before line {window.next_line}, but the drain had read up to line {drain.ledger_next}."
        )
    if drain is not None and drain.ledger_shrank:
        doubts.unknown.append("The merchant's ledger became shorter during the run: synced lines are gone.")
    for fault in faults:
        ended = fault.verified and fault.name in ENDING and fault.hits("merchant-server")
        if ended and window.last_at > fault.evidence_at and not any(at >= fault.at for at in window.starts):
            doubts.unknown.append(
                f"Fault {fault.number} ended the merchant-server; it answered later without a new start in its ledger."
            )
    if window.junk:
        doubts.notes.append(f"{window.junk} requests without a transaction id were turned away by the merchant.")


def _doubt_the_faults(faults: list[Fault], settings: dict[str, Any], doubts: _Doubts) -> None:
    for fault in faults:
        if not fault.verified:
            doubts.unknown.append(
                f"Fault {fault.number} ({fault.name} {fault.target}) has no evidence that it took effect."
            )
        if fault.heal_ok is False:
            doubts.notes.append(f"Fault {fault.number} ({fault.name} {fault.target}) was not seen to be healed.")
    planned = settings.get("faults_planned")
    if isinstance(planned, int) and len(faults) < planned:
        doubts.unknown.append(f"{planned} faults were planned, {len(faults)} stand in {FAULTS}.")


def _doubt_the_drain(drain: Drain | None, doubts: _Doubts) -> None:
    if drain is None:
        doubts.unknown.append(f"{DRAIN} is missing: nobody waited for the deliveries to the end.")
    elif not drain.complete:
        doubts.late.append("The drain met its deadline.")


def _count(run_dir: Path, blank: Verdict, deliveries: Deliveries, stores: Stores, doubts: _Doubts) -> Verdict:
    tally = Tally()
    for transaction_id, history, found, why in deliveries.found():
        tally.add(transaction_id, history, found, why, stores.lines)
    if tally.absent:
        try:
            deliveries = replace(deliveries, last_attempts=last_attempts(run_dir, tally.absent))
        except EvidenceError as error:
            doubts.unknown.append(f"{error}.")
    if not tally.accepted:
        doubts.unknown.append("Nothing was accepted: there is nothing to prove.")
    elif deliveries.faults and tally.classes[TransactionClass.EARLIER] == tally.accepted:
        doubts.unknown.append("Nothing new was accepted: all of it had arrived before, so the faults prove nothing.")
    outcome, reasons = _conclude(tally, doubts)
    return replace(
        blank,
        outcome=outcome,
        reasons=tuple(reasons),
        notes=tuple(doubts.notes),
        arithmetic=tally.arithmetic(),
        classes=tally.counts(),
        examples={name: tuple(ids) for name, ids in tally.examples.items()},
        why=tally.explained(deliveries),
        duplicates={cause.value: count for cause, count in deliveries.duplicate_causes().items()},
        faults=tuple(deliveries.faults),
        deliveries=deliveries,
    )


def _conclude(tally: Tally, doubts: _Doubts) -> tuple[Outcome, list[str]]:
    """Invalid beats unknown, unknown beats late, late beats proven; every reason is named, the weightiest first."""
    classes = tally.classes
    broken = [f"{classes[name]} {name.value.upper()}." for name in VIOLATIONS if classes[name]]
    if classes[TransactionClass.UNKNOWN]:
        doubts.unknown.append(f"{classes[TransactionClass.UNKNOWN]} ids could not be judged.")
    if classes[TransactionClass.LATE]:
        doubts.late.append(f"{classes[TransactionClass.LATE]} ids were still on their way.")
    broken += doubts.broken
    reasons = [*broken, *doubts.unknown, *doubts.late]
    if broken:
        return Outcome.INVALID, reasons
    if doubts.unknown:
        return Outcome.UNKNOWN, reasons
    return (Outcome.LATE, reasons) if doubts.late else (Outcome.PROVEN, reasons)
