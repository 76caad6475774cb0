"""What of the merchant's behaviour can be changed, in which limits, and what each mode means.

The merchant-server checks for itself; here it is checked before anything is journalled, because a typing error must not
stand in a run's fault log. A test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from control_room.chaos.errors import FaultError

NORMAL: Final = "normal"
MODES: Final[Mapping[str, str]] = {
    NORMAL: "deliveries fail as the failure rate says",
    "outage": "every delivery gets a 500",
    "silent": "no delivery is answered before the caller gives up",
    "refuse": "every connection is reset once the request was read, before the ledger",
    "reset-before-body": "every connection is reset before the body was read",
    "reset-after-ledger": "every delivery is taken, and its 200 is lost in a reset: they come again",
    "rate-limited": "every delivery gets a 429 with Retry-After",
    "gone": "every delivery gets a 410",
    "redirect": "every delivery gets a 301 that must not be followed",
    "drip": "every delivery is taken, and its 200 sent byte by byte",
    "huge": "every delivery is taken, and its 200 has a body far beyond what a dispatcher reads",
    "flapping": "all deliveries get a 500 for a while, then are answered as in normal, and so on",
}
"""Each mode with what follows from it."""


class Limits(NamedTuple):
    """What a number may be."""

    low: float
    high: float
    """Both are allowed."""
    words: str
    whole: bool = False


FIELDS: Final[Mapping[str, Limits]] = {
    "failure_rate": Limits(0, 1, "Share of requests that fail."),
    "timeout_share": Limits(0, 1, "Of these, the share that hangs instead of a 500."),
    "latency_ms": Limits(0, 60_000, "Added before every answer."),
    "retry_after_s": Limits(0, 86_400, "What a 429 says in Retry-After."),
    "hang_s": Limits(0.1, 3_600, "How long an answer is held back; more than the callers' time-out."),
    "drip_s": Limits(0.05, 600, "How long a dripping answer takes, more or less than the callers' time-out."),
    "flap_s": Limits(0.1, 3_600, "How long a flapping merchant fails, and then works."),
    "huge_bytes": Limits(
        65_537, 1024**3, "The body of a huge answer, in bytes; dispatchers read 64 KiB of it.", whole=True
    ),
}
"""Every field beside `mode`, with its words for a help page."""


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that were given (None is not). Raises FaultError: none, unknown ones, values that are not allowed."""
    given = {key: value for key, value in changes.items() if value is not None}
    if not given:
        raise FaultError(f"nothing to change: give at least one of mode, {', '.join(FIELDS)}")
    for name, value in given.items():
        if name == "mode":
            if value not in MODES:
                raise FaultError(f"there is no mode {value}; there are {', '.join(MODES)}")
        elif name not in FIELDS:
            raise FaultError(f"the merchant has no behaviour {name}; it has mode, {', '.join(FIELDS)}")
        elif not _allowed(value, FIELDS[name]):
            low, high, _, whole = FIELDS[name]
            kind = "whole number" if whole else "number"
            raise FaultError(f"{name} must be a {kind} from {low:.10g} to {high:.10g} (given: {value})")
    return given


def _allowed(value: object, limits: Limits) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return limits.low <= value <= limits.high and not (limits.whole and value != int(value))
