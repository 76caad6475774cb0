"""Prometheus metrics: what several services or the control room share.

Each service declares its own metrics in a `metrics` module of its package; what several use, or what the control room
reads, is named here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)
"""From a loopback round trip to a merchant that was away for half an hour."""


class LoopCounter(Collector):
    """A counter that one thread alone counts, an event loop's: no lock. The library's own costs a microsecond."""

    def __init__(self, name: str, documentation: str) -> None:
        """`name` ends in `_total`."""
        self._name = name
        self._documentation = documentation
        self.value = 0
        REGISTRY.register(self)

    def inc(self) -> None:
        """One more."""
        self.value += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The registry asks, in whatever thread: it may miss what is being counted at the moment."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.value)


class LoopHistogram(Collector):
    """A histogram that one thread alone observes, an event loop's: no lock. The library's own costs five microseconds,
    which is as much as signing a webhook."""

    def __init__(self, name: str, documentation: str, bounds: Iterable[float]) -> None:
        """`bounds` are the upper bounds of the buckets, growing; what lies above them all is counted as well."""
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The registry asks, in whatever thread: it may miss what is being counted at the moment."""
        counts = accumulate(self._counts)
        names = [*map(str, self._bounds), "+Inf"]
        buckets = [(name, float(count)) for name, count in zip(names, counts, strict=True)]
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
