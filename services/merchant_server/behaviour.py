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
    """Every connection is reset once the request was read."""
    RATE_LIMITED = "rate-limited"
    """Every answer is a 429 with Retry-After."""
    GONE = "gone"
    """Every answer is a 410."""


class Answer(StrEnum):
    """What one request gets; the values are the metric's labels."""

    OK = "200"
    ERROR = "500"
    HANG = "hang"
    RESET = "reset"
    RATE_LIMITED = "429"
    GONE = "410"


_BY_MODE: Final = {
    Mode.OUTAGE: Answer.ERROR,
    Mode.SILENT: Answer.HANG,
    Mode.REFUSE: Answer.RESET,
    Mode.RATE_LIMITED: Answer.RATE_LIMITED,
    Mode.GONE: Answer.GONE,
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

    def draw(self, random: Random) -> Answer:
        """What the next request gets."""
        if self.mode is not Mode.NORMAL:
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


_LIMITS: Final = {
    "failure_rate": (0.0, 1.0),
    "timeout_share": (0.0, 1.0),
    "latency_ms": (0.0, 600_000.0),
    "retry_after_s": (0.0, 86_400.0),
    "hang_s": (0.0, 3_600.0),
}


def _checked(name: str, value: object, caller_timeout_s: float) -> Mode | float:
    if name == "mode":
        if isinstance(value, str) and value in set(Mode):
            return Mode(value)
        raise ValueError("must be one of " + ", ".join(Mode))
    if name not in _LIMITS:
        raise ValueError("is not a field of the behaviour; there are mode, " + ", ".join(_LIMITS))
    low, high = _LIMITS[name]
    sentence = f"must be a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(sentence)
    if not low <= value <= high:
        raise ValueError(sentence)
    if name == "hang_s" and value <= caller_timeout_s:
        raise ValueError(f"must be more than the callers' time-out of {caller_timeout_s:g} s and at most {high:g}")
    return float(value)
