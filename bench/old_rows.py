"""Payments of long ago, delivered and published: rows by the million in a few minutes."""

# ruff: noqa: S608 - the statements are put together from this module's constants; values travel as parameters

from __future__ import annotations

import time
from typing import Any, Final

import psycopg
from psycopg import sql

from bench.measure import Say

_CHUNK: Final = 500_000
_ID: Final = "md5(%(tag)s || n)::uuid"
_AT: Final = "now() - make_interval(secs => %(age_s)s) + make_interval(secs => n / %(per_s)s::float8)"
_FILL: Final = {
    "payments": f"""
        INSERT INTO payments
        SELECT {_ID}, {_AT}, 'Asha Rao', 'asha@okbank', 'Ravi Iyer', 'ravi@okbank', 1250.5, 'SUCCESS',
               convert_to(rpad(n::text, 300, 'x'), 'utf8'), {_AT}, 'ingestion-api-1'
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    "outbox_events": f"""
        INSERT INTO outbox_events (transaction_id, created_at, published_at, published_by, kafka_partition,
                                   kafka_offset)
        SELECT {_ID}, {_AT}, {_AT}, 'ingestion-api-1', n %% 3, n
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    "deliveries": f"""
        INSERT INTO deliveries (transaction_id, state, round, attempt, attempts_total, last_status, delivered_at,
                                updated_at, dispatcher, own_started_at, own_round, own_attempt, own_duration_ms,
                                own_status, own_dispatcher, own_kafka_partition, own_kafka_offset)
        SELECT {_ID}, 'delivered', 1, 1, 1, 200, {_AT}, {_AT}, 'dispatcher',
               {_AT}, 1, 1, 20, 200, 'dispatcher', n %% 3, n
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
}  # fmt: skip
TABLES: Final = (*_FILL, "delivery_attempts")
"""What grows with payments; the last with those alone that need several attempts, so not with old ones here."""
_KEYS: Final = """
SELECT c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c
 WHERE c.conrelid = %s::regclass AND c.contype = 'p'
"""


def fill(conninfo: str, rows: int, *, age_s: float, per_s: float, say: Say) -> float:
    """Adds `rows` payments; how many seconds it took.

    The oldest was accepted, published and delivered `age_s` ago, and each second after that `per_s` more were. For a
    stack that does nothing else meanwhile: primary keys are taken away and made anew, since sorting once is quicker
    than five million places by chance. Its services find a table locked for some seconds, and go on.

    Raises:
        psycopg.Error: not all of it was added.
    """
    began_s = time.monotonic()
    given = {"tag": f"old {time.time_ns()} ", "age_s": age_s, "per_s": per_s}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '256MB'")
        for table in _FILL:
            say(f"{rows:,} old rows into {table}")
            _fill(connection, table, rows, given)
        connection.execute("VACUUM (ANALYZE) " + ", ".join(TABLES))
        connection.execute("CHECKPOINT")
    return round(time.monotonic() - began_s, 1)


def _fill(connection: psycopg.Connection[Any], table: str, rows: int, given: dict[str, Any]) -> None:
    name = sql.Identifier(table)
    keys = connection.execute(_KEYS, [table]).fetchall()
    for key, _ in keys:
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(key)))
    try:
        for first in range(1, rows + 1, _CHUNK):
            connection.execute(_FILL[table], {**given, "first": first, "last": min(rows, first + _CHUNK - 1)})
    finally:
        for key, definition in keys:
            add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
            connection.execute(add.format(name, sql.Identifier(key), sql.SQL(definition)))
