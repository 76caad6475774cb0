"""What is measured, row by row, and what each row must reach on the machine that docs/performance.md describes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench import backlog
from bench.load import Behaviour, Load
from bench.measure import Patience
from bench.processes import tree_cpu_s
from bench.sitting import Bench

_LADDER_PER_S: Final = (400, 600, 800, 1000, 1200, 1500)
_LADDER_S: Final = 20
_GROWS: Final = 2.0
"""A backlog grows where the median of the last fifth is so many times that of the first, and 100 ms more."""
_IDLE_S: Final = 30.0
_EBB_S: Final = 60.0
"""After a load compilers and vacuums go on for a while."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    title: str
    must: str
    measure: Callable[[Bench], dict[str, Any]]
    tell: Callable[[Mapping[str, Any]], str]
    """The figures in a few words, to be read against `must`."""


def _closed(bench: Bench) -> dict[str, Any]:
    return bench.run(Load(50_000))


def _bulk(bench: Bench) -> dict[str, Any]:
    return bench.run(Load(50_000, connections=backlog.BATCH_CONNECTIONS, batch=backlog.BATCH_EVENTS))


def _open(rate_per_s: int, seconds: int = 60) -> Callable[[Bench], dict[str, Any]]:
    return lambda bench: bench.run(Load(rate_per_s * seconds, connections=256, rate_per_s=rate_per_s))


def _sustained(bench: Bench) -> dict[str, Any]:
    """Rates upwards until the latency grows while the rate stays: the last one before that."""
    steps, highest = [], 0
    for rate_per_s in _LADDER_PER_S:
        found = bench.run(Load(rate_per_s * _LADDER_S, connections=256, rate_per_s=rate_per_s))
        first, *_, last = (value or 0.0 for value in found["p50_ms_of_fifths"])
        grows = last > _GROWS * first and last - first > 100
        steps.append({"rate_per_s": rate_per_s, "p50_ms_of_fifths": found["p50_ms_of_fifths"], "grows": grows})
        bench.say(f"open loop at {rate_per_s}/s: median {first:.0f} ms at the start, {last:.0f} ms at the end")
        if grows:
            break
        highest = rate_per_s
    return {"highest_rate_per_s": highest, "steps": steps}


def _failing(bench: Bench) -> dict[str, Any]:
    return bench.run(Load(20_000), Behaviour(failing=0.3), Patience(quiet_s=60, drain_s=420))


def _hanging(bench: Bench) -> dict[str, Any]:
    load = Load(300 * 30, connections=256, rate_per_s=300)
    calm = bench.run(load)
    found = bench.run(load, Behaviour(hanging=0.3), Patience(quiet_s=60, drain_s=420))
    return {**found, "calm_first_try": calm["first_try"]}


def _idle(bench: Bench) -> dict[str, Any]:
    pids = bench.target.pids
    time.sleep(_EBB_S)  # what was done before ebbs away: doing nothing is what is measured
    before = tree_cpu_s(pids)
    time.sleep(_IDLE_S)  # the window that is measured
    parts = {name: (after_s - before[name]) / _IDLE_S for name, after_s in tree_cpu_s(pids).items()}
    memory = {member.name: member.memory_bytes for member in bench.stack.runtime.status()}
    return {
        "share_of_a_core": round(sum(parts.values()), 3),
        "share_of_a_core_by_part": {name: round(share, 4) for name, share in parts.items()},
        "memory_mib": round(sum(memory.values()) / 2**20),
        "memory_mib_by_part": {name: round(size / 2**20, 1) for name, size in memory.items()},
    }


def _rate_and_cost(found: Mapping[str, Any]) -> str:
    latency = found["scheduled_to_delivered_ms"]
    return (
        f"{found['delivered_per_s']:.0f}/s, p99 {latency['p99']} ms, {found['cpu_s_per_1000']:.2f} CPU-s per 1,000, "
        f"{found['missing']} missing"
    )


def _latency(found: Mapping[str, Any]) -> str:
    latency, accepted = found["scheduled_to_delivered_ms"], found["accepted_to_delivered_ms"]
    return (
        f"p50 {latency['p50']} / p99 {latency['p99']} ms, from acceptance {accepted['p50']} / {accepted['p99']} ms, "
        f"{found['cpu_s_per_1000']:.2f} CPU-s per 1,000"
    )


def _first_try(found: Mapping[str, Any]) -> str:
    first = found["first_try"]
    return f"{first['delivered_per_s']:.0f}/s at the first try, p99 {first['ms']['p99']} ms, {found['missing']} missing"


def _beside_hanging(found: Mapping[str, Any]) -> str:
    p99, calm = found["first_try"]["ms"]["p99"], found["calm_first_try"]["ms"]["p99"]
    return f"p99 {p99} ms, calm {calm} ms; dispatcher {found['memory_mib_by_part'].get('dispatcher')} MiB"


def _drain(found: Mapping[str, Any]) -> str:
    return f"{found['drained_per_s']:.0f}/s, {found['missing']} missing"


def _published(found: Mapping[str, Any]) -> str:
    beside = found["beside"]
    return (
        f"{found['published_per_s']:.0f}/s published, {found['drained_per_s']:.0f}/s delivered, "
        f"{found['missing']} missing; accepting beside it p99 {beside['accept_ms']['p99']} ms, "
        f"calm {beside['calm_accept_ms']['p99']} ms"
    )


def _highest(found: Mapping[str, Any]) -> str:
    return f"{found['highest_rate_per_s']}/s"


def _idle_cost(found: Mapping[str, Any]) -> str:
    return f"{found['share_of_a_core']:.1%} of a core, {found['memory_mib']} MiB"


QUICK: Final = (
    Row("closed", "closed loop, 64 connections", "1,100/s, p99 < 1 s, 1.5 CPU-s", _closed, _rate_and_cost),
    Row("bulk", "the same in bulk", "3,000/s", _bulk, _rate_and_cost),
    Row("open-200", "open loop, 200/s", "10 / 50 ms", _open(200), _latency),
    Row("open-500", "open loop, 500/s", "40 / 200 ms", _open(500), _latency),
)
FULL: Final = (
    *QUICK,
    Row("idle", "idle stack", "10 %, 1.6 GiB", _idle, _idle_cost),
    Row("sustained", "highest open-loop rate without a growing backlog", "800/s", _sustained, _highest),
    Row("failing", "30 % of answers are 500", "450/s at the first try, 0 missing", _failing, _first_try),
    Row("hanging", "30 % of requests hang, 300/s", "2x calm, 200 MB", _hanging, _beside_hanging),
    Row("kafka-backlog", "drain of 200,000 in Kafka", "3,000/s", backlog.in_kafka, _drain),
    Row("outbox-backlog", "drain of 200,000 in the outbox", "5,000/s, p99 2x calm", backlog.in_outbox, _published),
)
