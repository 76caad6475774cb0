"""The verdict on a run: one word, its exit code, its reasons, and the numbers they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from control_room.verify.arithmetic import Arithmetic
from control_room.verify.classes import VIOLATIONS, TransactionClass
from control_room.verify.crosscheck import Disagreement
from control_room.verify.deliveries import Deliveries
from control_room.verify.duplicates import WORDS, Cause
from control_room.verify.faults import Fault
from control_room.verify.files import FORMAT


class Outcome(StrEnum):
    """The one word. Invalid beats unknown, unknown beats late, late beats proven."""

    PROVEN = "proven"
    LATE = "late"
    UNKNOWN = "unknown"
    INVALID = "invalid"


EXIT_CODES: Final = {Outcome.PROVEN: 0, Outcome.INVALID: 10, Outcome.LATE: 11, Outcome.UNKNOWN: 12}


@dataclass(frozen=True, slots=True)
class StoresAgreement:
    """Whether the four stores agreed at the end."""

    compared: str = ""
    """What was compared, as a line; empty where nothing was."""
    disagreements: tuple[Disagreement, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For verdict.json."""
        return {"compared": self.compared, "disagreements": [one.to_json() for one in self.disagreements]}


_NOTHING: Final = Arithmetic(0, 0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `check` found."""

    run: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    """Why it is not proven; empty where it is."""
    notes: tuple[str, ...] = ()
    """Worth knowing, changing nothing."""
    arithmetic: Arithmetic = _NOTHING
    classes: Mapping[str, int] = field(default_factory=dict)
    """How many ids are of each class, and `duplicated`: how many arrived more than once. Empty where the evidence is
    too damaged to say."""
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Some ids of each class that is not fine."""
    why: Mapping[str, str] = field(default_factory=dict)
    """For the ids among the examples: the explanation."""
    duplicates: Mapping[str, int] = field(default_factory=dict)
    """Deliveries beyond the first, by cause."""
    stores: StoresAgreement = StoresAgreement()
    faults: tuple[Fault, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each evidence file, and of the manifest."""
    deliveries: Deliveries | None = field(default=None, repr=False, compare=False)
    """Every id with what became of it; None where the evidence is too damaged to say."""

    @property
    def exit_code(self) -> int:
        """The exit code of `verify` and `check`."""
        return EXIT_CODES[self.outcome]

    def to_json(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return {
            "format": FORMAT,
            "run": self.run,
            "verdict": self.outcome.value,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "arithmetic": self.arithmetic.to_json(),
            "classes": dict(self.classes),
            "examples": {name: list(ids) for name, ids in self.examples.items()},
            "why": dict(self.why),
            "duplicates": dict(self.duplicates),
            "stores": self.stores.to_json(),
            "faults": [fault.to_json() for fault in self.faults],
            "inputs": dict(self.inputs),
        }


_HEADLINES: Final = {
    Outcome.PROVEN: "PROVEN: every acknowledged event reached the merchant",
    Outcome.INVALID: "INVALID: the promise was broken",
    Outcome.LATE: "LATE: the drain met its deadline; what is missing is still on its way",
    Outcome.UNKNOWN: "UNKNOWN: the evidence does not allow a verdict",
}
_EXPLAINED: Final = (TransactionClass.LOST, TransactionClass.STRANDED)
_IDS_EXPLAINED: Final = 3
_SHOWN_ALWAYS: Final = ("lost", "stranded", "phantom", "leaked", "corrupt", "bad-signature")


def summary(verdict: Verdict, run_dir: str = "") -> str:
    """The verdict for a person: a headline, the arithmetic, classes, faults, reasons, and what to do next."""
    lines = [_HEADLINES[verdict.outcome], f"  {verdict.arithmetic.line()}"]
    if verdict.classes:
        lines.append("  " + ", ".join(f"{name} {verdict.classes.get(name, 0)}" for name in _SHOWN_ALWAYS))
        fine = [f"{name} {count}" for name, count in verdict.classes.items() if count and name not in _SHOWN_ALWAYS]
        lines.append("  " + ", ".join(fine))
    lines += [f"  duplicates: {count} {WORDS[Cause(cause)]}" for cause, count in verdict.duplicates.items() if count]
    lines += [f"  fault {fault.number}: {describe_fault(fault)}" for fault in verdict.faults]
    lines += [f"  stores: {verdict.stores.compared}"] if verdict.stores.compared else []
    lines += [f"  {words}" for words in _missing(verdict)]
    lines += [f"  reason: {reason}" for reason in verdict.reasons]
    lines += [f"  note: {note}" for note in verdict.notes]
    lines += [f"  {word}" for word in _next(verdict, run_dir or "RUN_DIR")]
    return "\n".join(line for line in lines if line.strip())


def _missing(verdict: Verdict) -> list[str]:
    """Some ids that are not there, with where they were last seen."""
    return [
        f"{name.value} {transaction_id}: {verdict.why.get(transaction_id, '')}"
        for name in _EXPLAINED
        for transaction_id in verdict.examples.get(name.value, ())[:_IDS_EXPLAINED]
    ]


def describe_fault(fault: Fault) -> str:
    """One fault with its evidence, as a line."""
    facts = ", ".join(f"{name}={value}" for name, value in fault.facts.items())
    seen = f"verified ({facts})" if fault.verified and facts else "verified" if fault.verified else "NOT VERIFIED"
    healed = "" if fault.heal_ok is None else "; healed" if fault.heal_ok else "; healing was not verified"
    return f"{fault.name} {fault.target}: {seen}{healed}"


def _next(verdict: Verdict, run_dir: str) -> list[str]:
    if verdict.outcome is Outcome.INVALID:
        some = [ids[0] for name in VIOLATIONS if (ids := verdict.examples.get(name.value))]
        return [f"next: bruce-control event {some[0]}" if some and some[0] else f"next: read {run_dir}/deliveries.csv"]
    if verdict.outcome is Outcome.LATE:
        return [f"next: bruce-control verify {run_dir}   (waits for the rest)"]
    if verdict.outcome is Outcome.UNKNOWN:
        return ["next: put right what the reasons name, and run it again"]
    return [f"next: bruce-control report {run_dir}"]
