"""What a replay has done so far: counted while it runs, shown as a frozen snapshot."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from control_room.replay.client import Answer, Outcome
from control_room.replay.latency import LatencyHistogram
from control_room.replay.payments import RejectedRow

_MAX_EXAMPLES: Final = 5
_RATE_WINDOW_S: Final = 5.0
_TOLD: Final = 60
"""So many rates and latencies told before are kept, for whoever draws them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A replay as it stands. At its end the same value is its summary."""

    run_id: str
    payments: int
    """Payments begun: their first request left."""
    accepted: int
    """Payments answered 201, duplicates included."""
    duplicates: int
    refused: Mapping[int, int]
    """Payments definitely refused, by status."""
    gave_up: int
    """Payments left without a definite answer after the last try."""
    in_flight: int
    requests: int
    """Requests sent, retries included."""
    unanswered: Mapping[str, int]
    """Requests without a definite answer, by reason."""
    bad_rows: int
    skipped: int
    """Payments answered before a resume, not sent again."""
    elapsed_s: float
    rate_per_s: float
    """Definite answers a second: over the last seconds while it runs, over the whole at the end."""
    p50_s: float
    p95_s: float
    p99_s: float
    """Latency up to the definite answer, in an open loop from when the payment was due."""
    max_s: float
    expected: int | None
    """How many payments there will be, where that can be estimated."""
    eta_s: float | None
    interrupted: bool = False
    ended: bool = False
    bad_row_examples: tuple[str, ...] = ()
    refusal_examples: tuple[str, ...] = ()
    rates_per_s: tuple[float, ...] = ()
    """`rate_per_s` as it was told before, the newest last."""
    p95s_s: tuple[float, ...] = ()
    """Likewise `p95_s`."""

    @property
    def answered(self) -> int:
        """Payments with a definite answer."""
        return self.accepted + sum(self.refused.values())


ReplaySummary = Progress
OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Tally:
    """The counters behind `Progress`; constant size whatever the run's."""

    run_id: str
    expected: int | None = None
    payments: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    gave_up: int = 0
    in_flight: int = 0
    requests: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    bad_rows: int = 0
    skipped: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    bad_row_examples: list[str] = field(default_factory=list)
    refusal_examples: list[str] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)
    _marks: list[tuple[float, int]] = field(default_factory=list)
    _rates_per_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TOLD))
    _p95s_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TOLD))

    def rejected(self, row: RejectedRow) -> None:
        """Counts a bad row."""
        self.bad_rows += 1
        if len(self.bad_row_examples) < _MAX_EXAMPLES:
            self.bad_row_examples.append(f"line {row.line}: {'; '.join(row.reasons)}")

    def answer(self, answer: Answer, line: int, latency_s: float) -> None:
        """Counts one request's answer; `latency_s` is the payment's, used where the answer is definite."""
        self.requests += 1
        if answer.outcome is Outcome.UNKNOWN:
            self.unanswered[answer.why] += 1
            return
        self.latency.add(latency_s)
        if answer.outcome is Outcome.ACCEPTED:
            self.accepted += 1
            self.duplicates += answer.duplicate
            return
        self.refused[answer.status] += 1
        if len(self.refusal_examples) < _MAX_EXAMPLES:
            self.refusal_examples.append(f"line {line}: {answer.status} {answer.sentence}".rstrip())

    def snapshot(self, *, ended: bool = False, interrupted: bool = False) -> Progress:
        """The counters now."""
        elapsed_s = time.monotonic() - self._began_s
        answered = self.accepted + self.refused.total()
        rate_per_s = answered / elapsed_s if ended and elapsed_s > 0 else self._recent_rate(elapsed_s, answered)
        p50_s, p95_s, p99_s = self.latency.percentiles_s(0.5, 0.95, 0.99)
        if not ended:
            self._rates_per_s.append(rate_per_s)
            self._p95s_s.append(p95_s)
        return Progress(
            run_id=self.run_id,
            payments=self.payments,
            accepted=self.accepted,
            duplicates=self.duplicates,
            refused=dict(self.refused),
            gave_up=self.gave_up,
            in_flight=self.in_flight,
            requests=self.requests,
            unanswered=dict(self.unanswered),
            bad_rows=self.bad_rows,
            skipped=self.skipped,
            elapsed_s=elapsed_s,
            rate_per_s=rate_per_s,
            p50_s=p50_s,
            p95_s=p95_s,
            p99_s=p99_s,
            max_s=self.latency.max_s,
            expected=self.expected,
            eta_s=None if ended else self._eta_s(answered, rate_per_s),
            interrupted=interrupted,
            ended=ended,
            bad_row_examples=tuple(self.bad_row_examples),
            refusal_examples=tuple(self.refusal_examples),
            rates_per_s=tuple(self._rates_per_s),
            p95s_s=tuple(self._p95s_s),
        )

    def _recent_rate(self, elapsed_s: float, answered: int) -> float:
        self._marks.append((elapsed_s, answered))
        while len(self._marks) > 2 and elapsed_s - self._marks[0][0] > _RATE_WINDOW_S:
            del self._marks[0]
        since_s, before = self._marks[0]
        return (answered - before) / (elapsed_s - since_s) if elapsed_s > since_s else 0.0

    def _eta_s(self, answered: int, rate_per_s: float) -> float | None:
        if self.expected is None or rate_per_s <= 0:
            return None
        return max(0, self.expected - answered - self.gave_up - self.skipped) / rate_per_s
