"""From what publisher and receiver saw to figures: a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from bench.load import Attempt, Load, Published

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def figures(load: Load, ids: Sequence[str], published: Published, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The figures of one load, units in the names.

    An event's latency runs from when it should have left to the first 200 that the receiver answered; `accepted_to_…`
    from when its acceptance reached the publisher, which is 0 where the delivery was there before the answer.
    """
    arrived = _Arrivals(ids, attempts)
    acknowledged = [i for i, status in enumerate(published.status) if 200 <= status < 300]
    first_ok_s, scheduled_s = arrived.first_ok_s, published.scheduled_s
    latency_s = sorted(at_s - scheduled_s[i] for i, at_s in first_ok_s.items() if scheduled_s[i])
    after_answer_s = sorted(max(0.0, first_ok_s[i] - published.answered_s[i]) for i in acknowledged if i in first_ok_s)
    answer_s = sorted(published.answered_s[i] - scheduled_s[i] for i in acknowledged)
    began_s = min((sent_s for sent_s in published.sent_s if sent_s), default=0.0)
    last_answer_s = max((published.answered_s[i] for i in acknowledged), default=began_s)
    last_delivery_s = max(first_ok_s.values(), default=began_s)
    found = {
        "mode": load.mode,
        "events": len(ids),
        "connections": load.connections,
        "rate_per_s": load.rate_per_s,
        "batch": load.batch,
        "acknowledged": len(acknowledged),
        "acknowledged_per_s": _rate(len(acknowledged), last_answer_s - began_s),
        "delivered": len(first_ok_s),
        "delivered_per_s": _rate(len(first_ok_s), last_delivery_s - began_s),
        "missing": sum(1 for i in acknowledged if i not in first_ok_s),
        "delivered_unacknowledged": sum(1 for i in first_ok_s if not 200 <= published.status[i] < 300),
        "foreign": arrived.foreign,
        "duplicates": sum(count - 1 for count in arrived.ok.values()),
        "duplicates_of_events_sent_once": sum(
            1 for i, count in arrived.ok.items() if count > 1 and published.tries[i] == 1
        ),
        "attempts": sum(arrived.tries.values()),
        "sent_again": sum(1 for tries in published.tries if tries > 1),
        "answers": published.answers,
        "accept_ms": _quantiles_ms(answer_s),
        "scheduled_to_delivered_ms": _quantiles_ms(latency_s),
        "accepted_to_delivered_ms": _quantiles_ms(after_answer_s),
        "drain_s": round(max(0.0, last_delivery_s - last_answer_s), 2),
        "first_try": _first_try(arrived, published, began_s),
    }
    if load.rate_per_s is not None:
        late_s = sorted(published.sent_s[i] - scheduled_s[i] for i in acknowledged)
        found["publisher_late_ms"] = _quantiles_ms(late_s)
        found["p50_ms_of_fifths"] = _fifths(published, first_ok_s)
    return found


class _Arrivals:
    """The receiver's requests by event number."""

    def __init__(self, ids: Sequence[str], attempts: Sequence[Attempt]) -> None:
        number = {event_id: i for i, event_id in enumerate(ids)}
        self.first_ok_s: dict[int, float] = {}
        self.first_try_ok_s: dict[int, float] = {}
        self.ok: Counter[int] = Counter()
        self.tries: Counter[int] = Counter()
        self.foreign = 0
        for event_id, at_s, ok in attempts:
            i = number.get(event_id)
            if i is None:
                self.foreign += 1
                continue
            self.tries[i] += 1
            if not ok:
                continue
            self.ok[i] += 1
            self.first_ok_s.setdefault(i, at_s)
            if self.tries[i] == 1:
                self.first_try_ok_s[i] = at_s


def _first_try(arrived: _Arrivals, published: Published, began_s: float) -> dict[str, Any]:
    """Of those that the receiver took at the first try: what a merchant that fails costs the healthy."""
    found = arrived.first_try_ok_s
    latency_s = sorted(at_s - published.scheduled_s[i] for i, at_s in found.items() if published.scheduled_s[i])
    per_s = _rate(len(found), max(found.values(), default=began_s) - began_s)
    return {"delivered": len(found), "delivered_per_s": per_s, "ms": _quantiles_ms(latency_s)}


def _fifths(published: Published, first_ok_s: dict[int, float]) -> list[float | None]:
    """The median latency of each fifth of an open loop: a backlog that grows shows."""
    in_order = sorted((published.scheduled_s[i], at_s - published.scheduled_s[i]) for i, at_s in first_ok_s.items())
    size = max(1, len(in_order) // 5)
    parts = [sorted(latency_s for _, latency_s in in_order[at * size : (at + 1) * size]) for at in range(5)]
    return [_ms(_quantile(part, 0.5)) for part in parts]


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0


def _quantiles_ms(ascending_s: Sequence[float]) -> dict[str, float | None]:
    found = {name: _ms(_quantile(ascending_s, share)) for name, share in _QUANTILES.items()}
    return {**found, "max": _ms(ascending_s[-1] if ascending_s else None)}


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)
