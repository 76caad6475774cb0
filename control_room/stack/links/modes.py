"""What a door does with the bytes that come to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """The modes of a door."""

    PASS = "pass"  # noqa: S105 - a mode, no password
    REFUSE = "refuse"
    """Nobody listens; connections that were open are reset."""
    SILENCE = "silence"
    """Connections stay and new ones can be made, and nothing goes through."""
    SLOW = "slow"
    """Everything goes through, later."""
    RESET_AFTER = "reset-after"
    """A connection is reset once so many bytes went through it, in both directions together."""


class ModeError(ValueError):
    """A mode that cannot be. The message says what can."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a number of a mode may be."""

    low: float
    high: float
    words: str


FIELDS: Final[Mapping[str, Limits]] = {
    "latency_ms": Limits(0, 60_000, "Milliseconds that everything is late, in each direction (slow)."),
    "jitter_ms": Limits(0, 60_000, "Up to so much more or less, by chance; the order stays (slow)."),
    "bytes_per_s": Limits(100, 1e9, "Bytes a second that get through, in each direction (slow)."),
    "bytes": Limits(0, 1e9, "Bytes after which a connection is reset (reset-after)."),
}
_OF: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.SLOW: frozenset({"latency_ms", "jitter_ms", "bytes_per_s"}),
    Kind.RESET_AFTER: frozenset({"bytes"}),
}
"""The numbers that each mode takes."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One mode, with its numbers."""

    kind: Kind = Kind.PASS
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    bytes_per_s: float = 0.0
    """0: as many as come."""
    bytes: int = 0

    @property
    def least_delay_s(self) -> float:
        """What every byte is late at least, in one direction."""
        return max(0.0, self.latency_ms - self.jitter_ms) / 1000

    def to_json(self) -> dict[str, Any]:
        """As `parse` reads it."""
        takes = _OF.get(self.kind, frozenset())
        given = {key: value for key, value in asdict(self).items() if key in takes and (value or key == "bytes")}
        return {"mode": self.kind.value, **given}

    def words(self) -> str:
        """For a person: `slow, latency 200 ms, jitter 50 ms`."""
        parts = [self.kind.value]
        if self.latency_ms:
            parts.append(f"latency {self.latency_ms:g} ms")
        if self.jitter_ms:
            parts.append(f"jitter {self.jitter_ms:g} ms")
        if self.bytes_per_s:
            parts.append(f"{self.bytes_per_s:g} bytes/s")
        if self.kind is Kind.RESET_AFTER:
            parts.append(f"{self.bytes} bytes")
        return ", ".join(parts)


def parse(given: Mapping[str, Any]) -> Mode:
    """The mode that `given` describes: `mode`, and the numbers that it takes. None counts as not given.

    Raises:
        ModeError: no such mode, a number out of its limits, or one that the mode does not take.
    """
    numbers = {key: value for key, value in given.items() if value is not None}
    try:
        kind = Kind(numbers.pop("mode", None))
    except ValueError as error:
        raise ModeError(f"mode must be one of {', '.join(Kind)} (given: {given.get('mode')!r})") from error
    takes = _OF.get(kind, frozenset())
    if unknown := sorted(set(numbers) - takes):
        allowed = f"takes {', '.join(sorted(takes))}" if takes else "takes no numbers"
        raise ModeError(f"{kind} {allowed} (given: {', '.join(unknown)})")
    for key, value in numbers.items():
        _check(key, value)
    if kind is Kind.SLOW and not (numbers.get("latency_ms") or numbers.get("bytes_per_s")):
        raise ModeError("slow needs latency_ms or bytes_per_s")
    if numbers.get("jitter_ms", 0) > numbers.get("latency_ms", 0):
        raise ModeError("jitter_ms must not be more than latency_ms: nothing can come before it was sent")
    if kind is Kind.RESET_AFTER and "bytes" not in numbers:
        raise ModeError("reset-after needs bytes")
    if "bytes" in numbers:
        numbers["bytes"] = int(numbers["bytes"])
    return Mode(kind, **numbers)


def _check(key: str, value: Any) -> None:
    limits = FIELDS[key]
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not limits.low <= value <= limits.high:
        raise ModeError(f"{key} must be a number from {limits.low:g} to {limits.high:g} (given: {value!r})")
