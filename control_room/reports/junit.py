"""junit.xml: the verdict as test cases, for a CI that shows such files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.reports.contents import Contents, Recovery
from control_room.reports.meanings import MEANING
from control_room.reports.words import duration, iso
from control_room.tracking.text import harmless
from control_room.verify.classes import VIOLATIONS, TransactionClass
from control_room.verify.durable import write_whole
from control_room.verify.files import JUNIT
from control_room.verify.verdict import Outcome, Verdict, summary

_JUDGED: Final = (*VIOLATIONS, TransactionClass.UNKNOWN, TransactionClass.LATE)
_NO_CLASSES: Final = "the evidence is too damaged to give any transaction a class"


@dataclass(frozen=True, slots=True)
class Case:
    """One test case."""

    group: str
    name: str
    failure: str = ""
    """Why it failed, in a sentence; empty where it passed."""
    kind: str = ""
    """Of the failure: an outcome."""
    text: str = ""
    """Details of a failure, or what was seen."""
    time_s: float | None = None


def write_junit(run_dir: Path, contents: Contents) -> Path:
    """Writes junit.xml into the run's folder and returns its path. Raises OSError where that cannot be."""
    return write_whole(run_dir / JUNIT, document_of(contents))


def document_of(contents: Contents) -> bytes:
    """The document: the verdict, each class that must be empty, and each fault, which must have had its effect."""
    cases = [_verdict(contents.verdict), *_classes(contents.verdict), *_faults(contents)]
    counts = {"tests": str(len(cases)), "failures": str(sum(bool(case.failure) for case in cases)), "errors": "0"}
    name = harmless(contents.verdict.run)
    root = ET.Element("testsuites", {"name": "bruce-control", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": name, "skipped": "0", **counts})
    started_at, ended_at = contents.started_at, contents.drained_at
    if started_at and iso(started_at):
        suite.set("timestamp", iso(started_at))
    if started_at and ended_at:
        suite.set("time", f"{max(0.0, ended_at - started_at):.3f}")
    properties = ET.SubElement(suite, "properties")
    for file, sha in contents.verdict.inputs.items():
        ET.SubElement(properties, "property", name=harmless(f"sha256 {file}"), value=harmless(sha))
    for case in cases:
        _add(suite, case)
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _add(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", classname=f"bruce.{case.group}", name=harmless(case.name))
    if case.time_s is not None:
        element.set("time", f"{case.time_s:.3f}")
    text = "\n".join(harmless(line) for line in case.text.splitlines())
    if case.failure:
        failure = ET.SubElement(element, "failure", message=harmless(case.failure), type=case.kind)
        failure.text = text or None
    elif text:
        ET.SubElement(element, "system-out").text = text


def _verdict(verdict: Verdict) -> Case:
    proven = verdict.outcome is Outcome.PROVEN
    failure = "" if proven else " ".join(verdict.reasons) or summary(verdict).partition("\n")[0]
    return Case("verdict", "proven", failure, verdict.outcome.value, summary(verdict))


def _classes(verdict: Verdict) -> Iterator[Case]:
    for member in _JUDGED:
        name = f"no {member.value}"
        if not verdict.classes:
            yield Case("classes", name, _NO_CLASSES, Outcome.UNKNOWN.value)
            continue
        count = verdict.classes.get(member.value, 0)
        ids = verdict.examples.get(member.value, ())
        text = "\n".join(f"{id_ or '(none)'}: {verdict.why.get(id_, '')}".rstrip(": ") for id_ in ids)
        kind = Outcome.INVALID.value if member in VIOLATIONS else member.value
        failure = f"{count} ids: {MEANING[member.value]}" if count else ""
        yield Case("classes", name, failure, kind, text)


def _faults(contents: Contents) -> Iterator[Case]:
    for recovery in contents.recoveries():
        fault = recovery.fault
        failure = "" if fault.verified else "no evidence that the fault took effect: nobody knows what was survived"
        name = f"fault {fault.number}: {fault.name} {fault.target}"
        yield Case("faults", name, failure, Outcome.UNKNOWN.value, _seen(recovery), recovery.first_delivery_s)


def _seen(recovery: Recovery) -> str:
    fault = recovery.fault
    lines = [fault.expect, f"evidence: {json.dumps(dict(fault.facts), sort_keys=True)}"]
    if fault.heal_ok is not None:
        lines.append("undone" if fault.heal_ok else "not seen to be undone")
    if recovery.first_delivery_s is not None:
        lines.append(f"first delivery {duration(recovery.first_delivery_s)} after its end")
    back = f"back after {duration(recovery.drained_s)}" if recovery.drained_s is not None else "never back"
    lines.append(f"backlog {recovery.level}, at most {recovery.peak}, {back}")
    return "\n".join(filter(None, lines))
