"""What waits while a part is away, and how fast it goes on once that part is back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg

from bench.adapters import make_adapter
from bench.evaluate import figures
from bench.load import Load
from bench.measure import Patience
from bench.publisher import Publisher
from bench.sitting import Bench
from control_room.stack.runtime import BROKERS

WAITING_EVENTS: Final = 200_000
BATCH_CONNECTIONS: Final = 8
BATCH_EVENTS: Final = 100
"""Events in one request of what is sent in bulk."""
_BESIDE_PER_S: Final = 97
"""They come at all times within the 10 ms after which the API commits: at 100/s each waits as long as the one before,
2 or 12 ms as it happens."""
_BESIDE_S: Final = 45
_PUBLISHED: Final = """
SELECT count(published_at), extract(epoch FROM max(published_at) - min(published_at))::float8
  FROM outbox_events WHERE created_at >= %s AND created_at < %s
"""


def in_kafka(bench: Bench) -> dict[str, Any]:
    """What waits in Kafka while no dispatcher runs, and how fast one that comes back delivers it."""
    bench.stack.runtime.stop(["dispatcher"])
    return _drained(bench, lambda: bench.stack.runtime.start(["dispatcher"]))


def in_outbox(bench: Bench) -> dict[str, Any]:
    """What waits in the outbox while no broker runs: how fast it is published and delivered once they are back.

    Somebody goes on paying meanwhile, one by one: how long the API lets them wait, calm and beside the drain.
    """
    load = Load(_BESIDE_PER_S * _BESIDE_S, connections=64, rate_per_s=_BESIDE_PER_S)
    calm = bench.run(load)
    bench.stack.runtime.stop(BROKERS)
    with psycopg.connect(bench.conninfo, autocommit=True) as connection, _Beside.ready(bench, load) as beside:
        began = _now(connection)
        came_back: list[Any] = []

        def come_back() -> None:
            came_back.append(_now(connection))
            bench.stack.runtime.start(BROKERS)
            beside.publisher.go()

        found = _drained(bench, come_back)
        published = connection.execute(_PUBLISHED, [began, came_back[0]]).fetchone()
        accept_ms = beside.accept_ms()
    count, seconds = published or (0, 0.0)
    return {
        **found,
        "published": count,
        "published_per_s": round(count / max(0.01, seconds or 0.0), 1),
        "beside": {"rate_per_s": _BESIDE_PER_S, "accept_ms": accept_ms, "calm_accept_ms": calm["accept_ms"]},
    }


@dataclass(frozen=True, slots=True)
class _Beside:
    """A second publisher, whose deliveries nobody counts."""

    publisher: Publisher
    ids: list[str]
    load: Load

    @classmethod
    def ready(cls, bench: Bench, load: Load) -> Self:
        ids = make_adapter(bench.target).event_ids(uuid.uuid4().hex, load.events)
        publisher = Publisher(bench.target, ids, load)
        publisher.prepare()
        return cls(publisher, ids, load)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.stop()

    def accept_ms(self) -> dict[str, float | None]:
        found: dict[str, float | None] = figures(self.load, self.ids, self.publisher.result(), [])["accept_ms"]
        return found


def _now(connection: psycopg.Connection[Any]) -> Any:
    """Postgres's clock: what it stamps its rows with."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    return row and row[0]


def _drained(bench: Bench, come_back: Callable[[], None]) -> dict[str, Any]:
    """Sends what is to wait, and has it delivered once `come_back` was called."""
    load = Load(WAITING_EVENTS, connections=BATCH_CONNECTIONS, batch=BATCH_EVENTS)
    found = bench.run(load, patience=Patience(settle_s=0, quiet_s=900, drain_s=900), before_drain=come_back)
    return {**found, "drained_per_s": round(found["delivered"] / max(0.01, found["drain_s"]), 1)}
