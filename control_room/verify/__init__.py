"""From the files of a run to a verdict. Touches no network.

`check` reads a run's folder and gives its verdict; `write_verdict` writes it down; `write_manifest` seals the evidence.
"""

from control_room.verify.arithmetic import Arithmetic
from control_room.verify.classes import TransactionClass
from control_room.verify.judge import check
from control_room.verify.manifest import EvidenceError, write_manifest
from control_room.verify.output import write_verdict
from control_room.verify.verdict import Outcome, Verdict, summary

__all__ = [
    "Arithmetic",
    "EvidenceError",
    "Outcome",
    "TransactionClass",
    "Verdict",
    "check",
    "summary",
    "write_manifest",
    "write_verdict",
]
