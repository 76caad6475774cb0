"""The merchant's failure rate for the length of a run, journalled as the fault that it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from control_room.chaos.faults import MERCHANT
from control_room.chaos.injection import apply_fault, heal
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.overdue import injector
from control_room.stack.runtime import Runtime
from control_room.tracking.merchant import read_behaviour


@contextmanager
def failure_rate(runtime: Runtime, share: float, journals: Sequence[Path]) -> Iterator[None]:
    """Within it the merchant fails that share of its requests; after it, what it did before.

    Nothing is changed, and nothing journalled, where it does so already.

    Raises:
        tracking.parts.SourceError: the merchant does not answer.
        FaultError: its behaviour cannot be changed.
    """
    now = read_behaviour(runtime.endpoints().merchant_url)
    if now.get("failure_rate") == share and now.get("mode") == "normal":
        yield
        return
    record = apply_fault(
        runtime,
        MerchantBehaviour.name,
        MERCHANT,
        journals,
        meant={"injector": injector()},
        failure_rate=share,
        mode="normal",
        latency_ms=0,
    )
    try:
        yield
    finally:
        heal(runtime, journals, numbers=[record.number])
