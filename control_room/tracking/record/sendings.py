"""The requests of a run that is over, by when they left and were answered: how its sending stood at a moment."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_INDEFINITE: Final = -1.0
_RECENT_S: Final = 5.0
_SECONDS: Final = 60
"""Of the curves: one value each, the newest last."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How the sending stood at one moment."""

    payments: int
    """Begun: their first request had left."""
    line: int
    """The furthest line of the source that had been come to; 0 before the first."""
    accepted: int
    """Payments answered 201, duplicates included."""
    duplicates: int
    refused: Mapping[int, int]
    """Payments definitely refused, by status."""
    requests: int
    """Requests that had an answer, or had been given up."""
    unanswered: Mapping[str, int]
    """Requests that ended without a definite answer, by reason."""
    latencies_s: Sequence[float]
    """From when each payment was due to its definite answer, ascending."""
    recent_per_s: float
    """Definite answers a second, over the last five."""
    rates_per_s: tuple[float, ...]
    """Definite answers in each of the last seconds."""
    p95s_s: tuple[float, ...]
    """The latency that 95 of 100 of them stayed under; 0 where there was none."""


class Sendings:
    """Takes the lines of an operation log in their order; 38 bytes for each request."""

    def __init__(self) -> None:
        self._left_s = array("d")
        self._begun = array("I")
        """How many payments were begun with each request."""
        self._line = array("d")
        """The furthest line of the source with each request."""
        self._answered_s = array("d")
        self._latency_s = array("d")
        self._kind = array("H")
        self._kinds: dict[tuple[str, str], int] = {}
        self._due_s: dict[int, float] = {}
        self.begins_at_s: float | None = None
        """When the client began (Unix)."""
        self.ends_at_s: float | None = None
        """When it ended in order."""

    @property
    def payments(self) -> int:
        """How many were begun in all."""
        return self._begun[-1] if self._begun else 0

    def add(self, record: Mapping[str, Any], *, new: bool) -> None:
        """One line; `new`: the first request of its payment. Raises KeyError, TypeError: no line of such a log."""
        kind, at_s = record["k"], float(record["at"])
        if kind == "invoke":
            self._left_s.append(max(at_s, self._left_s[-1] if self._left_s else 0.0))
            self._begun.append(self.payments + new)
            self._line.append(max(record["row"], self._line[-1] if self._line else 0))
            self._due_s[record["op"]] = float(record["due"])
        elif kind in ("ok", "fail", "info"):
            self._answer(kind, at_s, record)
        elif kind == "start" and self.begins_at_s is None:
            self.begins_at_s = at_s
        elif kind == "end":
            self.ends_at_s = at_s

    def _answer(self, kind: str, at_s: float, record: Mapping[str, Any]) -> None:
        due_s = self._due_s.pop(record["op"], None)
        if due_s is None:
            return
        what = {"ok": bool(record.get("dup")), "fail": record.get("status"), "info": record.get("why")}[kind]
        self._answered_s.append(max(at_s, self._answered_s[-1] if self._answered_s else 0.0))
        self._latency_s.append(_INDEFINITE if kind == "info" else max(0.0, at_s - due_s))
        self._kind.append(self._kinds.setdefault((kind, str(what)), len(self._kinds)))

    def at(self, moment_s: float) -> Sent:
        """As it stood at a moment (Unix)."""
        left, answered = bisect_right(self._left_s, moment_s), bisect_right(self._answered_s, moment_s)
        numbers = Counter(self._kind[:answered])
        counts = {kind: numbers[number] for kind, number in self._kinds.items() if numbers[number]}
        recent = self._between(moment_s - _RECENT_S, moment_s)
        rates_per_s, p95s_s = self._curves(moment_s)
        return Sent(
            payments=self._begun[left - 1] if left else 0,
            line=int(self._line[left - 1]) if left else 0,
            accepted=sum(count for (kind, _), count in counts.items() if kind == "ok"),
            duplicates=counts.get(("ok", "True"), 0),
            refused={int(what): count for (kind, what), count in counts.items() if kind == "fail"},
            requests=answered,
            unanswered={what: count for (kind, what), count in counts.items() if kind == "info"},
            latencies_s=sorted(each for each in self._latency_s[:answered] if each != _INDEFINITE),
            recent_per_s=len(recent) / _RECENT_S,
            rates_per_s=rates_per_s,
            p95s_s=p95s_s,
        )

    def _between(self, after_s: float, until_s: float) -> list[float]:
        """The latencies of what was definitely answered after one moment and until another."""
        begin, end = bisect_right(self._answered_s, after_s), bisect_right(self._answered_s, until_s)
        return [each for each in self._latency_s[begin:end] if each != _INDEFINITE]

    def _curves(self, moment_s: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        begins_at_s = self.begins_at_s if self.begins_at_s is not None else moment_s
        seconds = min(_SECONDS, int(moment_s - begins_at_s) + 1) if moment_s >= begins_at_s else 0
        found = [self._between(moment_s - back - 1, moment_s - back) for back in reversed(range(seconds))]
        return tuple(float(len(each)) for each in found), tuple(share_of(sorted(each), 0.95) for each in found)


def share_of(ascending: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them stay at or under; 0 of none."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else 0.0
