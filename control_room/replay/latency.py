"""A latency histogram of constant size: about a thousand buckets, each 2 % wide."""

from __future__ import annotations

import math
from array import array
from typing import Final

_LOWEST_S: Final = 10e-6
_GROWTH: Final = 1.02
_BUCKETS: Final = 1000
"""10 µs · 1.02^1000 is an hour."""
_FACTOR: Final = 1 / math.log(_GROWTH)


class LatencyHistogram:
    """Counts latencies; percentiles are within 2 %."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.max_s = 0.0

    def add(self, latency_s: float) -> None:
        """Counts one latency."""
        bucket = int(math.log(latency_s / _LOWEST_S) * _FACTOR) if latency_s > _LOWEST_S else 0
        self._counts[bucket if bucket < _BUCKETS else _BUCKETS - 1] += 1
        self.count += 1
        if latency_s > self.max_s:
            self.max_s = latency_s

    def percentiles_s(self, *shares: float) -> tuple[float, ...]:
        """For each of `shares` (0 to 1, ascending) the latency that so many stay under; zeros before the first."""
        if not self.count:
            return (0.0,) * len(shares)
        found: list[float] = []
        seen, bucket = 0, -1
        for share in shares:
            while seen < share * self.count and bucket < _BUCKETS - 1:
                bucket += 1
                seen += self._counts[bucket]
            found.append(min(self.max_s, _LOWEST_S * _GROWTH ** (bucket + 1)))
        return tuple(found)
