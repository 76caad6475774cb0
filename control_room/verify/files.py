"""The names of a run's files, and what each is worth to the verdict (docs/run-files.md)."""

from __future__ import annotations

from typing import Final

FORMAT: Final = 1

RUN: Final = "run.json"
OPERATIONS: Final = "operations.jsonl"
BEFORE: Final = "before.jsonl"
REJECTED: Final = "rejected.csv"
FAULTS: Final = "faults.jsonl"
PROBES: Final = "probes.jsonl"
DRAIN: Final = "drain.json"
LEDGER: Final = "ledger.jsonl"
OTHERS: Final = "others.jsonl"
EARLIER: Final = "earlier.jsonl"
STORES: Final = "stores.jsonl"
ATTEMPTS: Final = "attempts.jsonl"
CROSSCHECK: Final = "crosscheck.jsonl"
REDELIVERIES: Final = "redeliveries.jsonl"
TRACKING: Final = "tracking.jsonl"
STEPS: Final = "steps.jsonl"
"""No evidence, and in no manifest: its last line comes after the verdict."""
MANIFEST: Final = "manifest.json"
VERDICT: Final = "verdict.json"
DELIVERIES: Final = "deliveries.csv"
REPORT: Final = "report.md"
JUNIT: Final = "junit.xml"

EVIDENCE: Final = (
    RUN,
    OPERATIONS,
    BEFORE,
    REJECTED,
    FAULTS,
    PROBES,
    DRAIN,
    LEDGER,
    OTHERS,
    EARLIER,
    STORES,
    ATTEMPTS,
    CROSSCHECK,
    REDELIVERIES,
    TRACKING,
)
"""All that a manifest lists, present or absent."""

ADDED_LATER: Final = frozenset({CROSSCHECK, REDELIVERIES, TRACKING})
"""Files that a manifest of an earlier version does not name: not to be named then means absent."""

REQUIRED: Final = frozenset({RUN, OPERATIONS, LEDGER})
"""Without one of these nothing can be said about any transaction."""

DECISIVE: Final = frozenset({RUN, OPERATIONS, BEFORE, DRAIN, LEDGER, OTHERS, EARLIER, STORES})
"""Files a class follows from: with one of them damaged no class is given at all. Damage to the others makes the
verdict UNKNOWN too, but a loss that the decisive files show stays a loss."""
