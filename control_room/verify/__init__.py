"""From the files of a run to a verdict. Touches no network.

`check` reads a run's folder and gives its verdict; `write_verdict` writes it down; `write_manifest` seals the evidence.
Each part is loaded when it is asked for: most of what imports this package wants the name of a file.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
_MODULES: Final = {
    "Arithmetic": "arithmetic",
    "EvidenceError": "manifest",
    "Outcome": "verdict",
    "TransactionClass": "classes",
    "Verdict": "verdict",
    "check": "judge",
    "summary": "verdict",
    "write_manifest": "manifest",
    "write_verdict": "output",
}


def __getattr__(name: str) -> Any:
    """One of `__all__`, from its module. Raises AttributeError."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
