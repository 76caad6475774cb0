"""Numbers for reports, from the rows of a verdict: latency, gaps, recovery after faults. Pure."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from control_room.verify.classes import TransactionClass
from control_room.verify.deliveries import Delivery
from control_room.verify.faults import Fault

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run's deliveries add up to."""

    latencies_s: array[float]
    """Accepted → first 2xx, ascending, of ids with both; 0 where the merchant had it before the client had its 201."""
    accepted_at: array[float]
    """Unix seconds, ascending."""
    delivered_at: array[float]
    """Unix seconds of first 2xx, ascending."""
    attempts: int
    most_rounds: int
    requeued: int
    """Ids that took more than one round."""
    opened_at: array[float] = field(default_factory=lambda: array("d"))
    """Unix seconds at which an id joined the backlog (first 201), ascending; without those delivered before."""
    closed_at: array[float] = field(default_factory=lambda: array("d"))
    """Unix seconds at which one left it again (its first 2xx), ascending."""

    def backlog_at(self, at: float) -> int:
        """Ids that were acknowledged and not delivered at a Unix time."""
        return bisect_right(self.opened_at, at) - bisect_right(self.closed_at, at)

    def quantile(self, share: float) -> float | None:
        """The latency in seconds that `share` of the deliveries did not exceed (nearest rank); None without any."""
        count = len(self.latencies_s)
        if not count:
            return None
        return self.latencies_s[min(count - 1, max(0, math.ceil(share * count) - 1))]

    def longest_gap(self) -> tuple[float, float] | None:
        """The longest time between two first deliveries: its begin (Unix) and length (s)."""
        times = self.delivered_at
        if len(times) < 2:
            return None
        at = max(range(1, len(times)), key=lambda index: times[index] - times[index - 1])
        return times[at - 1], times[at] - times[at - 1]

    def first_delivery_after(self, at: float) -> float | None:
        """Seconds from a Unix time to the next first delivery; None where none followed."""
        later = first_not_before(self.delivered_at, at)
        return None if later is None else later - at


def first_not_before(times: Sequence[float], at: float) -> float | None:
    """The first of ascending `times` that is not before `at`."""
    index = bisect_left(times, at)
    return times[index] if index < len(times) else None


def figures(deliveries: Iterable[Delivery]) -> Figures:
    """The figures of a run's rows, in one pass."""
    latencies, accepted, delivered = array("d"), array("d"), array("d")
    opened, closed = array("d"), array("d")
    attempts = rounds = requeued = 0
    for row in deliveries:
        attempts += row.attempts
        rounds = max(rounds, row.rounds)
        requeued += row.rounds > 1
        if row.delivered_at:
            delivered.append(row.delivered_at)
        if not row.accepted_at:
            continue
        accepted.append(row.accepted_at)
        if row.outcome is not TransactionClass.EARLIER:
            opened.append(row.accepted_at)
        if row.delivered_at:
            latencies.append(max(0.0, row.delivered_at - row.accepted_at))
            closed.append(max(row.accepted_at, row.delivered_at))
    return Figures(
        _ascending(latencies),
        _ascending(accepted),
        _ascending(delivered),
        attempts,
        rounds,
        requeued,
        _ascending(opened),
        _ascending(closed),
    )


def _ascending(values: array[float]) -> array[float]:
    return array("d", sorted(values))


def recovered_after(fault: Fault, found: Figures) -> float | None:
    """Seconds from a fault's end (its heal, else its evidence) to the next first delivery."""
    return found.first_delivery_after(end_of(fault))


def end_of(fault: Fault) -> float:
    """Unix seconds of a fault's end: its heal, else its evidence, else its announcement."""
    return fault.healed_at or fault.evidence_at or fault.at
