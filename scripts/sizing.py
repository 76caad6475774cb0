"""The arithmetic of docs/sizing.md: what so many payments a second ask of each part.

    python -m scripts.sizing [RATE ...] [--merchant-ms 100] [--core 1.0]

Prints the table that the page holds (a test compares them). What was measured stands in docs/performance.md and comes
from `bruce-control bench` and `python -m scripts.measure_rows`; all that follows from it is reckoned in straight lines.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from services.common.kafka import RETENTION_MS
from services.dispatcher.retry import RetryPolicy
from services.dispatcher.settings import DispatcherSettings
from services.ingestion_api.settings import ApiSettings

RATES: Final = (800, 10_000, 100_000)
DAY_S: Final = 86_400

# Measured: CPU-seconds per 1,000 payments in a closed loop at full load, on a core of the bench's faster sitting.
API_CPU_S: Final = 0.70
KAFKA_CPU_S: Final = 0.49
DISPATCHER_CPU_S: Final = 0.32
POSTGRES_CPU_S: Final = 0.155
BUSY: Final = 0.5
"""How busy a core is planned: the other half is for a member that died, a backlog, and the odd second."""
DISPATCHER_SEEN: Final = 1_400
"""Payments a second that one dispatcher was seen to deliver; never planned higher."""

# Measured: bytes per payment (`python -m scripts.measure_rows --payments 300000`), payments as the dataset has them.
BODY_BYTES: Final = 304
ROW_BYTES: Final = 1_080
"""Of the tables with their indexes, after delivery at the first attempt."""
WAL_BYTES: Final = 1_649
"""Between two checkpoints."""

# Rules of thumb, not of ours: what one broker and one of its disks carry without being watched for it.
BROKER_BYTES_S: Final = 50e6
BROKER_DISK_BYTES: Final = 4e12

KEY_BYTES: Final = 36
RECORD_OVERHEAD_BYTES: Final = 10
"""Lengths, attributes and deltas of a record of Kafka's format 2."""
BATCH_OVERHEAD_BYTES: Final = 61
REPLICAS: Final = 3
PUBLISHERS: Final = 2
EVEN: Final = 12
"""Partitions come in multiples of it, so that 2, 3, 4, 6 or 12 dispatchers have equal shares."""


def _default(settings: type[ApiSettings] | type[DispatcherSettings], name: str) -> float:
    return float(settings.model_fields[name].default)


GROUP: Final = 16.0
"""Payments in one commit and one burst to Kafka of a busy replica: a careful figure, it grows with the load."""
MARKS_S: Final = 1000 / _default(ApiSettings, "mark_interval_ms")
OUTCOME_BATCHES_S: Final = 10.0
"""A dispatcher writes outcomes every 100 ms, or 500 at once."""


def record_bytes() -> float:
    """One payment's record in Kafka's log, with its part of the batch."""
    return BODY_BYTES + KEY_BYTES + RECORD_OVERHEAD_BYTES + BATCH_OVERHEAD_BYTES / GROUP


def open_s() -> float:
    """How long a record stays open at most, a re-queued one: it waits for its round, in which every attempt times out,
    and each wait is as long as chance allows."""
    attempts = int(_default(DispatcherSettings, "max_retries"))
    policy = RetryPolicy(attempts, _default(DispatcherSettings, "retry_backoff_sec"), 0.0)
    waits_s = sum(policy.wait_s(attempt, None, 1.0) or 0.0 for attempt in range(1, attempts))
    timeouts_s = attempts * _default(DispatcherSettings, "request_timeout_sec")
    return policy.round_wait_s(None, 1.0) + waits_s + timeouts_s


class Plan(NamedTuple):
    """What one rate asks for."""

    rate: float
    api_replicas: int
    dispatchers: int
    partitions: int
    open_requests: int
    kafka_cores: float
    kafka_in_bytes_s: float
    """From the producers, before the brokers copy."""
    kafka_disk_bytes: float
    brokers: int
    rows_s: float
    """Inserts: payment, outbox row, delivery with its attempt. As many updates as payments come on top."""
    commits_s: float
    postgres_cores: float
    postgres_bytes_day: float
    wal_bytes_s: float
    connections: int


def plan(rate: float, merchant_s: float = 0.1, core: float = 1.0) -> Plan:
    """`merchant_s`: how long the merchant takes to answer; `core`: the speed of a core against the bench's."""
    dispatcher_rate = min(
        DISPATCHER_SEEN * core,
        1000 * BUSY * core / DISPATCHER_CPU_S,
        _default(DispatcherSettings, "max_in_flight") / merchant_s,
    )
    api_replicas = max(2, math.ceil(rate / (1000 * BUSY * core / API_CPU_S)))
    dispatchers = max(2, math.ceil(rate / dispatcher_rate))
    for_window = math.ceil(rate / partition_rate())
    partitions = EVEN * math.ceil(max(dispatchers, for_window) / EVEN)
    in_bytes_s = rate * record_bytes()
    disk_bytes = in_bytes_s * REPLICAS * RETENTION_MS / 1000
    brokers = max(3, math.ceil(in_bytes_s * REPLICAS / BROKER_BYTES_S), math.ceil(disk_bytes / BROKER_DISK_BYTES))
    return Plan(
        rate=rate,
        api_replicas=api_replicas,
        dispatchers=dispatchers,
        partitions=partitions,
        open_requests=math.ceil(rate * merchant_s),
        kafka_cores=rate * KAFKA_CPU_S / 1000 / core,
        kafka_in_bytes_s=in_bytes_s,
        kafka_disk_bytes=disk_bytes,
        brokers=brokers,
        rows_s=3 * rate,
        commits_s=rate / GROUP + api_replicas * MARKS_S + dispatchers * OUTCOME_BATCHES_S,
        postgres_cores=rate * POSTGRES_CPU_S / 1000 / core,
        postgres_bytes_day=rate * ROW_BYTES * DAY_S,
        wal_bytes_s=rate * WAL_BYTES,
        connections=2 * api_replicas + PUBLISHERS + dispatchers,
    )


def partition_rate() -> float:
    """Payments a second through one partition while one of them goes through a whole round in vain: the window of
    offsets behind it is as long as that."""
    return _default(DispatcherSettings, "max_window") / open_s()


def table(plans: Sequence[Plan]) -> str:
    """Markdown."""
    rows: tuple[tuple[str, list[str]], ...] = (
        ("ingestion-api replicas", [f"{one.api_replicas}" for one in plans]),
        ("dispatchers", [f"{one.dispatchers}" for one in plans]),
        ("partitions", [f"{one.partitions}" for one in plans]),
        ("requests open to merchants", [f"{one.open_requests:,}" for one in plans]),
        ("Kafka: from the producers", [_size(one.kafka_in_bytes_s) + "/s" for one in plans]),
        ("Kafka: on disk, 7 days, 3 copies", [_size(one.kafka_disk_bytes) for one in plans]),
        ("Kafka: cores of all brokers", [f"{one.kafka_cores:.1f}" for one in plans]),
        ("Kafka: brokers", [f"{one.brokers}" for one in plans]),
        ("Postgres: rows inserted, updated", [f"{one.rows_s:,.0f}/s, {one.rate:,.0f}/s" for one in plans]),
        ("Postgres: commits", [f"{one.commits_s:,.0f}/s" for one in plans]),
        ("Postgres: WAL between checkpoints", [_size(one.wal_bytes_s) + "/s" for one in plans]),
        ("Postgres: tables grow by", [_size(one.postgres_bytes_day) + " a day" for one in plans]),
        ("Postgres: cores", [f"{one.postgres_cores:.1f}" for one in plans]),
        ("Postgres: connections", [f"{one.connections}" for one in plans]),
    )
    head = " | ".join(f"{one.rate:,.0f}/s" for one in plans)
    lines = [f"| payments | {head} |", "|---" * (len(plans) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.3g} TB" if size_bytes < 1000 else f"{size_bytes:,.0f} TB"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rates", type=float, nargs="*", default=RATES, metavar="RATE", help="payments a second")
    parser.add_argument("--merchant-ms", type=float, default=100, help="how long a merchant takes (default: 100)")
    parser.add_argument("--core", type=float, default=1.0, help="a core's speed against the bench's (default: 1)")
    given = parser.parse_args()
    if min([given.merchant_ms, given.core, *given.rates]) <= 0:
        parser.error("rates, --merchant-ms and --core must be above 0")
    plans = [plan(rate, given.merchant_ms / 1000, given.core) for rate in given.rates]
    sys.stdout.write(table(plans) + "\n")


if __name__ == "__main__":
    main()
