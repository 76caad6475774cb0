"""One measurement: a load through a system that is up, until all of it is delivered or nothing comes any more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.adapters import Target, make_adapter
from bench.evaluate import figures
from bench.load import Behaviour, Load, Published
from bench.processes import machine_cpu_s, settle, tree_cpu_s, tree_memory_bytes
from bench.publisher import Publisher
from bench.receiver import Receiver

_POLL_S: Final = 0.05
_LINGER_S: Final = 1.0
"""Watched on after the last delivery: duplicates come late."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds."""

    settle_s: float = 10.0
    """For a quiet machine before."""
    quiet_s: float = 20.0
    """Nothing arrived for so long: what is missing does not come."""
    drain_s: float = 180.0
    """After the last answer, at most."""


def measure(
    target: Target,
    receiver: Receiver,
    load: Load,
    behaviour: Behaviour,
    patience: Patience | None = None,
    before_drain: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Sends `load` to `target`, whose webhooks go to `receiver`; the figures, with what they cost whom.

    `before_drain` is called when the last event is answered. A part that it starts has no CPU figure: only parts that
    ran at the beginning are counted.

    Raises:
        EOFError: the publisher died.
    """
    patience = patience or Patience()
    ids = make_adapter(target).event_ids(uuid.uuid4().hex, load.events)
    publisher = Publisher(target, ids, load)
    try:
        publisher.prepare()
        busy_before = settle(patience.settle_s)
        receiver.begin(behaviour)
        before = _Costs.now(target, receiver)
        publisher.go()
        published = _published(publisher)
        if before_drain is not None:
            before_drain()
        _drain(publisher, receiver, patience)
        after = _Costs.now(target, receiver)
        attempts = receiver.collect()
    finally:
        publisher.stop()
    found = figures(load, ids, published, attempts)
    costs = after.since(before, published.cpu_s, max(1, found["acknowledged"]))
    return {**found, "failing": behaviour.failing, "hanging": behaviour.hanging, **costs, "busy_before": busy_before}


def _published(publisher: Publisher) -> Published:
    while publisher.running:
        time.sleep(_POLL_S)  # it is another process, which tells of its end by ending
    return publisher.result()


def _drain(publisher: Publisher, receiver: Receiver, patience: Patience) -> None:
    began_s = changed_s = time.monotonic()
    last = -1
    while (now_s := time.monotonic()) - began_s < patience.drain_s:
        delivered = receiver.delivered
        if delivered != last:
            last, changed_s = delivered, now_s
        enough = delivered >= publisher.acknowledged and now_s - changed_s > _LINGER_S
        if enough or now_s - changed_s > patience.quiet_s:
            return
        time.sleep(_POLL_S)  # the receiver, another process, counts in shared memory: nothing there can be waited on


@dataclass(frozen=True, slots=True)
class _Costs:
    """CPU-seconds at one moment."""

    parts: dict[str, float]
    memory_bytes: dict[str, int]
    receiver_s: float
    busy_s: float
    stolen_s: float

    @classmethod
    def now(cls, target: Target, receiver: Receiver) -> _Costs:
        found = tree_cpu_s({**target.pids, "": receiver.pid})
        receiver_s = found.pop("")
        return cls(found, tree_memory_bytes(target.pids), receiver_s, *machine_cpu_s())

    def since(self, before: _Costs, publisher_s: float, events: int) -> dict[str, Any]:
        """What was used since `before`, for `events` events."""
        parts = {name: after_s - before.parts.get(name, 0.0) for name, after_s in self.parts.items()}
        total_s = sum(parts.values())
        bench_s = publisher_s + self.receiver_s - before.receiver_s
        return {
            "cpu_s_per_1000": round(1000 * total_s / events, 3),
            "cpu_s_per_1000_by_part": {name: round(1000 * used_s / events, 3) for name, used_s in parts.items()},
            "bench_cpu_s_per_1000": round(1000 * bench_s / events, 3),
            "other_cpu_s": round(self.busy_s - before.busy_s - total_s - bench_s, 1),
            "stolen_cpu_s": round(self.stolen_s - before.stolen_s, 1),
            "memory_mib_by_part": {name: round(size / 2**20, 1) for name, size in self.memory_bytes.items()},
        }
