"""How the merchant answers: a value that is replaced while it runs, and the draw of one answer from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Final


class Mode(StrEnum):
    """What kind of merchant it is at the moment."""

    NORMAL = "normal"
    """Fails as `failure_rate` says."""
    OUTAGE = "outage"
    """Every answer is a 500."""
    SILENT = "silent"
    """Every answer is held back until the caller gives up."""
    REFUSE = "refuse"
    """Every connection is reset once the request was read, before the ledger."""
    RESET_BEFORE_BODY = "reset-before-body"
    """Every connection is reset at the request's head: nothing of the body is read, and nothing written down."""
    RESET_AFTER_LEDGER = "reset-after-ledger"
    """Every delivery is taken and in the ledger as a 200, and then the connection is reset instead of the answer."""
    RATE_LIMITED = "rate-limited"
    """Every answer is a 429 with Retry-After."""
    GONE = "gone"
    """Every answer is a 410."""
    REDIRECT = "redirect"
    """Every answer is a 301 to a place that says 200 to whoever follows, and writes nothing down."""
    DRIP = "drip"
    """Every delivery is taken, and its 200 sent byte by byte over `drip_s`."""
    HUGE = "huge"
    """Every delivery is taken, and its 200 has a body of `huge_bytes`."""
    FLAPPING = "flapping"
    """For `flap_s` every answer is a 500, for the next `flap_s` it is as `normal`, and so on from the change."""


class Answer(StrEnum):
    """What one request gets; the values are the metric's labels."""

    OK = "200"
    ERROR = "500"
    HANG = "hang"
    RESET = "reset"
    RESET_BEFORE_BODY = "reset-before-body"
    RESET_AFTER_LEDGER = "reset-after-ledger"
    STALE = "401"
    RATE_LIMITED = "429"
    GONE = "410"
    REDIRECT = "301"
    DRIP = "drip"
    HUGE = "huge"

    @property
    def takes(self) -> bool:
        """Whether the merchant takes the delivery, so that the ledger says 200 before anything leaves."""
        return self in _TAKING


_TAKING: Final = frozenset({Answer.OK, Answer.RESET_AFTER_LEDGER, Answer.DRIP, Answer.HUGE})
_BY_MODE: Final = {
    Mode.OUTAGE: Answer.ERROR,
    Mode.SILENT: Answer.HANG,
    Mode.REFUSE: Answer.RESET,
    Mode.RESET_BEFORE_BODY: Answer.RESET_BEFORE_BODY,
    Mode.RESET_AFTER_LEDGER: Answer.RESET_AFTER_LEDGER,
    Mode.RATE_LIMITED: Answer.RATE_LIMITED,
    Mode.GONE: Answer.GONE,
    Mode.REDIRECT: Answer.REDIRECT,
    Mode.DRIP: Answer.DRIP,
    Mode.HUGE: Answer.HUGE,
}


class BehaviourError(ValueError):
    """A change that is not possible. `fields` maps each faulty field to what is allowed."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {reason}" for name, reason in fields.items()))
        self.fields = dict(fields)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The merchant's manners. Immutable: a change makes a new one, so that no request sees half of it."""

    mode: Mode = Mode.NORMAL
    failure_rate: float = 0.7
    """Share of requests that fail in mode `normal`, 0 to 1."""
    timeout_share: float = 0.5
    """Share of those that are held back instead of answered with 500, 0 to 1."""
    latency_ms: float = 0.0
    """Added before each answer."""
    retry_after_s: float = 5.0
    """What a 429 says in Retry-After, whole seconds (rounded up) on the wire."""
    hang_s: float = 30.0
    """How long an answer is held back, where the caller does not hang up first."""
    drip_s: float = 6.0
    """How long a dripping answer takes from its first byte to its last: more or less than the callers' time-out."""
    flap_s: float = 5.0
    """How long a flapping merchant fails, and then works."""
    huge_bytes: int = 8 * 1024 * 1024
    """The body of a huge answer, in bytes: more than the 64 KiB that a dispatcher reads."""

    def draw(self, random: Random, since_s: float = 0.0) -> Answer:
        """What the next request gets, `since_s` seconds after this behaviour began."""
        if self.mode is Mode.FLAPPING:
            if int(since_s / self.flap_s) % 2 == 0:
                return Answer.ERROR
        elif self.mode is not Mode.NORMAL:
            return _BY_MODE[self.mode]
        if random.random() >= self.failure_rate:
            return Answer.OK
        return Answer.HANG if random.random() < self.timeout_share else Answer.ERROR

    def changed(self, changes: object, *, caller_timeout_s: float) -> Behaviour:
        """This behaviour with `changes`, a JSON object of some of its fields; the rest stays as it is.

        Raises:
            BehaviourError: unknown fields or values that are not allowed, all of them named.
        """
        if not isinstance(changes, dict):
            raise BehaviourError({"body": "must be a JSON object with fields of the behaviour"})
        faults: dict[str, str] = {}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            try:
                values[name] = _checked(name, value, caller_timeout_s)
            except ValueError as error:
                faults[str(name)] = str(error)
        if faults:
            raise BehaviourError(faults)
        return dataclasses.replace(self, **values)

    def document(self) -> dict[str, Any]:
        """As a JSON object."""
        return dataclasses.asdict(self)


_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "failure_rate": (0.0, 1.0),
    "timeout_share": (0.0, 1.0),
    "latency_ms": (0.0, 600_000.0),
    "retry_after_s": (0.0, 86_400.0),
    "hang_s": (0.0, 3_600.0),
    "drip_s": (0.05, 600.0),
    "flap_s": (0.1, 3_600.0),
    "huge_bytes": (65_537.0, 1024.0**3),
}
_WHOLE: Final = frozenset({"huge_bytes"})


def _checked(name: str, value: object, caller_timeout_s: float) -> Mode | float:
    if name == "mode":
        if isinstance(value, str) and value in set(Mode):
            return Mode(value)
        raise ValueError("must be one of " + ", ".join(Mode))
    if name not in _LIMITS:
        raise ValueError("is not a field of the behaviour; there are mode, " + ", ".join(_LIMITS))
    low, high = _LIMITS[name]
    sentence = f"must be a {'whole ' if name in _WHOLE else ''}number from {low:.10g} to {high:.10g}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(sentence)
    if not low <= value <= high:
        raise ValueError(sentence)
    if name in _WHOLE:
        if value != int(value):
            raise ValueError(sentence)
        return int(value)
    if name == "hang_s" and value <= caller_timeout_s:
        raise ValueError(f"must be more than the callers' time-out of {caller_timeout_s:g} s and at most {high:g}")
    return float(value)
