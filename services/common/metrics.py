"""Prometheus metrics: what several services or the control room share.

Each service declares its own metrics in a `metrics` module of its package; what several use, or what the control room
reads, is named here.
"""

from __future__ import annotations

from typing import Final

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
