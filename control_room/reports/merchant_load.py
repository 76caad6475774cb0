"""What the merchant was asked over time, from its own ledger: a dead one probes, a risen one a ramp. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.verify.chained import records
from control_room.verify.faults import Fault
from control_room.verify.files import LEDGER
from control_room.verify.manifest import EvidenceError

MERCHANT: Final = "merchant-server"
FIRST_SECONDS: Final = 4
"""After a fault's end, each of which is counted by itself: the ramp lies in them."""
WINDOW_S: Final = 0.5
"""Over which a rate is taken: long enough that a few dozen requests fall into it, short beside a ramp."""
STEP_S: Final = 0.1
CLOSE_UP_BEFORE_S: Final = 5.0
CLOSE_UP_AFTER_S: Final = 10.0
CLOSE_UP_STEP_S: Final = 0.25
_CLOSE_UP_STEPS: Final = round((CLOSE_UP_BEFORE_S + CLOSE_UP_AFTER_S) / CLOSE_UP_STEP_S)
NEARLY: Final = 0.9


@dataclass(frozen=True, slots=True)
class MerchantLoad:
    """The requests around one fault of the merchant."""

    fault: Fault
    during_per_s: float
    """In the latter half of the fault: what was under way when it began is over by then."""
    first_seconds: tuple[int, ...]
    """Requests in each of the first seconds after its end."""
    highest_per_s: float
    """The highest rate from its end until the backlog was back."""
    nearly_after_s: float | None
    """From its end until the rate was at 90 % of the highest; None where nothing was asked any more."""
    close_up_per_s: tuple[float, ...]
    """The rate around its end, from CLOSE_UP_BEFORE_S before it, one value per CLOSE_UP_STEP_S."""


def request_times(run_dir: Path) -> array[float]:
    """Unix seconds of every request in the run's part of the ledger, ascending.

    Damage ends them early: they only illustrate, and the verdict names the damage.
    """
    times = array("d")
    try:
        for record in records(run_dir / LEDGER, trust_first=True):
            if record["k"] == "req":
                times.append(float(record["at"]))
    except (EvidenceError, KeyError, TypeError, ValueError):
        pass
    return array("d", sorted(times))


def merchant_load(fault: Fault, times: Sequence[float], until: float) -> MerchantLoad | None:
    """The requests around `fault`; None where it did not lie on the merchant for a while.

    Args:
        fault: one of the run.
        times: of all requests, ascending.
        until: Unix seconds at which the backlog was back, or the run's end.
    """
    begin, end = fault.evidence_at or fault.at, fault.healed_at
    if not fault.hits(MERCHANT) or end <= begin:
        return None
    half_s = (end - begin) / 2
    rates = [
        (_between(times, end + step * STEP_S, end + step * STEP_S + WINDOW_S) / WINDOW_S, step)
        for step in range(max(1, int((until - end) / STEP_S)))
    ]
    highest = max(rate for rate, _ in rates)
    nearly = next(step * STEP_S for rate, step in rates if rate >= NEARLY * highest)
    return MerchantLoad(
        fault,
        _between(times, end - half_s, end) / half_s,
        tuple(_between(times, end + second, end + second + 1) for second in range(FIRST_SECONDS)),
        highest,
        nearly if highest else None,
        _close_up(times, end),
    )


def _close_up(times: Sequence[float], end: float) -> tuple[float, ...]:
    begin = end - CLOSE_UP_BEFORE_S
    moments = (begin + step * CLOSE_UP_STEP_S for step in range(_CLOSE_UP_STEPS))
    return tuple(_between(times, at, at + CLOSE_UP_STEP_S) / CLOSE_UP_STEP_S for at in moments)


def _between(times: Sequence[float], begin: float, end: float) -> int:
    return bisect_left(times, end) - bisect_left(times, begin)
