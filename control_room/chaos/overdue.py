"""Faults that nobody will heal any more: their time is over, or the process that meant to heal them is gone.

Whoever starts something next heals them first, so that a fault never outlives its injector by accident. A fault that a
person applied without a time stays until that person heals it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from control_room.chaos.injection import HealRecord, heal
from control_room.chaos.observe import same_process
from control_room.chaos.open_faults import OpenFault, open_faults
from control_room.stack.runtime import Runtime

LATE_S: Final = 30.0
"""How long after a fault's time a living injector may still be at healing it: a broker that starts takes seconds."""


def injector() -> dict[str, Any]:
    """This process, as a journal line names who will heal a fault."""
    return {"pid": os.getpid(), "started_at": psutil.Process().create_time()}


def is_overdue(fault: OpenFault, now_s: float) -> bool:
    """Whether its time is over (`now_s`, Unix) and nobody is at it, or its injector has ended without healing it."""
    who: Mapping[str, Any] | None = fault.injector
    lives = who is not None and same_process(who["pid"], who["started_at"]) is not None
    if fault.until_s is not None and fault.until_s <= now_s:
        return not lives or now_s - fault.until_s > LATE_S
    return who is not None and not lives


def heal_overdue(runtime: Runtime, journals: Sequence[Path]) -> list[HealRecord]:
    """Heals them. Raises as `heal`."""
    now_s = time.time()
    numbers = {fault.number for fault in open_faults(journals[0]) if is_overdue(fault, now_s)}
    return heal(runtime, journals, numbers=numbers) if numbers else []
