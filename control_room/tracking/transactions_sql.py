"""The statements behind the list of transactions: each drives from an index, so none grows with the tables.

All read committed rows only and take no lock beyond their reading. `OFFSET 0` keeps a lateral part a lookup by primary
key: without it the planner may hash a table of millions to join a page of fifty.
"""

# ruff: noqa: S608 - the statements are put together from this module's constants; values travel as parameters

from __future__ import annotations

from typing import Final

_ROW: Final = """
    p.transaction_id::text AS transaction_id,
    p.amount_inr, p.status, p.sender_name, p.receiver_name,
    date_part('epoch', p.accepted_at) AS accepted_at_s,
    p.accepted_by,
    CASE WHEN r.number IS NOT NULL THEN CASE WHEN r.published_at IS NULL THEN 'outbox' ELSE 'in-kafka' END
         WHEN d.state IS NOT NULL THEN d.state
         WHEN o.transaction_id IS NULL THEN 'missing'
         WHEN o.published_at IS NULL THEN 'outbox'
         ELSE 'in-kafka' END AS state,
    date_part('epoch', o.published_at) AS published_at_s,
    o.published_by, coalesce(r.kafka_partition, o.kafka_partition) AS partition,
    coalesce(r.kafka_offset, o.kafka_offset) AS "offset",
    coalesce(o.republished, 0) AS republished,
    coalesce(d.round, 0) AS round, coalesce(d.attempt, 0) AS attempt, coalesce(d.attempts_total, 0) AS attempts_total,
    d.last_status, d.last_error,
    date_part('epoch', d.next_due_at) AS next_due_at_s,
    date_part('epoch', d.delivered_at) AS delivered_at_s,
    date_part('epoch', clock_timestamp() - p.accepted_at) AS age_s
"""


def _lookup(table: str, name: str, driver: str) -> str:
    """The row of `table` with the driving row's id, as `name`."""
    from_table = f"SELECT * FROM {table} WHERE transaction_id = {driver}.transaction_id OFFSET 0"
    return f"LATERAL ({from_table}) {name} ON true"


def _payment(driver: str) -> str:
    return _lookup("payments", "p", driver)


def _outbox(driver: str) -> str:
    return _lookup("outbox_events", "o", driver)


def _delivery(driver: str) -> str:
    return f"{_lookup('deliveries', 'd', driver)} LEFT JOIN {_REDELIVERY}"


_REDELIVERY: Final = """LATERAL (
      SELECT * FROM redeliveries
       WHERE d.state = 'dead' AND transaction_id = d.transaction_id AND ended_at IS NULL OFFSET 0) r ON true"""
"""A dead-lettered one that is being redelivered is where its redelivery is. Of the others nothing is looked up."""


_FILTER: Final = """
  WHERE (%(states)s::text[] IS NULL OR r.state = ANY (%(states)s))
    AND r.attempts_total >= %(min_attempts)s
    AND r.age_s >= %(min_age_s)s
    AND (%(pattern)s::text IS NULL
         OR r.transaction_id LIKE %(prefix)s
         OR r.sender_name ILIKE %(pattern)s OR r.receiver_name ILIKE %(pattern)s
         OR r.last_error ILIKE %(pattern)s)
  LIMIT %(limit)s
"""

# The newest payments, looked through in order until the page is full. Drives from payments_accepted_at.
BY_PAYMENT: Final = f"""
SELECT r.* FROM (
  SELECT {_ROW}
    FROM (SELECT * FROM payments
           WHERE accepted_at <= clock_timestamp() - make_interval(secs => %(min_age_s)s)
           ORDER BY accepted_at DESC LIMIT %(look_back)s) p
    LEFT JOIN {_outbox("p")}
    LEFT JOIN {_delivery("p")}) r
{_FILTER}"""

# What waits in the outbox, newest first. Drives from the partial index outbox_pending.
BY_OUTBOX: Final = f"""
SELECT r.* FROM (
  SELECT {_ROW}
    FROM (SELECT * FROM outbox_events WHERE published_at IS NULL ORDER BY sequence DESC LIMIT %(look_back)s) o
    JOIN {_payment("o")}
    LEFT JOIN {_delivery("o")}) r
{_FILTER}"""

# What was tried and is not delivered, latest change first. Drives from the partial index deliveries_open.
BY_DELIVERY: Final = f"""
SELECT r.* FROM (
  SELECT {_ROW}
    FROM (SELECT * FROM deliveries WHERE state <> 'delivered' ORDER BY updated_at DESC LIMIT %(look_back)s) d
    JOIN {_payment("d")}
    LEFT JOIN {_outbox("d")}
    LEFT JOIN {_REDELIVERY}) r
{_FILTER}"""

# What was dead-lettered and is being redelivered: it waits in the outbox, or in Kafka, like what was never tried.
BY_REDELIVERY: Final = f"""
SELECT r.* FROM (
  SELECT {_ROW}
    FROM (SELECT * FROM deliveries
           WHERE transaction_id = ANY (ARRAY(SELECT transaction_id FROM redeliveries
                                              WHERE state_before = 'dead' AND ended_at IS NULL
                                              ORDER BY number DESC LIMIT %(look_back)s))) d
    JOIN {_payment("d")}
    LEFT JOIN {_outbox("d")}
    LEFT JOIN {_REDELIVERY}) r
{_FILTER}"""

# One transaction by the range of ids that share a prefix: the primary key's own order.
BY_ID_RANGE: Final = f"""
SELECT {_ROW}
  FROM (SELECT * FROM payments WHERE transaction_id BETWEEN %(low)s AND %(high)s
         ORDER BY transaction_id LIMIT %(limit)s) p
  LEFT JOIN {_outbox("p")}
  LEFT JOIN {_delivery("p")}
"""

ATTEMPTS: Final = """
SELECT date_part('epoch', started_at) AS started_at_s, round, attempt, duration_ms::float8 AS duration_ms,
       status, error, dispatcher, kafka_partition AS partition, kafka_offset AS "offset",
       date_part('epoch', next_due_at) AS next_due_at_s, redelivery
  FROM attempts WHERE transaction_id = %s ORDER BY started_at, round, attempt LIMIT 10000
"""

CLAIM: Final = """
SELECT claimed_by, date_part('epoch', claimed_until) AS claimed_until_s
  FROM outbox_events WHERE transaction_id = %s
"""

REDELIVERIES: Final = """
SELECT number, date_part('epoch', asked_at) AS asked_at_s, reason, state_before,
       date_part('epoch', published_at) AS published_at_s, published_by, kafka_partition AS partition,
       kafka_offset AS "offset", date_part('epoch', ended_at) AS ended_at_s, ended_as
  FROM redeliveries WHERE transaction_id = %s ORDER BY number LIMIT 1000
"""

BODY: Final = "SELECT canonical FROM payments WHERE transaction_id = %s"

# One look at what arrived: the ids of payments that came late (accepted between two moments, and not within a span that
# is read otherwise), how many are newer than the newest of the look before, from when to when, the ids of the newest of
# these, newest first, and how many pages the deliveries have. Ids come as one text: thousands of rows of one column
# cost their reader five times as much.
ARRIVED: Final = """
WITH fresh AS MATERIALIZED (
  SELECT transaction_id, accepted_at FROM payments
   WHERE accepted_at > to_timestamp(%(since_s)s) ORDER BY accepted_at DESC LIMIT %(limit)s)
SELECT (SELECT string_agg(transaction_id::text, ',')
          FROM (SELECT transaction_id FROM payments
                 WHERE accepted_at > to_timestamp(%(late_s)s) AND accepted_at <= to_timestamp(%(late_end_s)s)
                   AND NOT EXISTS (
                     SELECT FROM unnest(%(begins_s)s::float8[], %(ends_s)s::float8[]) AS span (begin_s, end_s)
                      WHERE accepted_at > to_timestamp(begin_s) AND accepted_at <= to_timestamp(end_s))
                 ORDER BY accepted_at DESC LIMIT %(limit)s) late) AS late,
       count(*) AS count,
       date_part('epoch', min(accepted_at)) AS oldest_s,
       date_part('epoch', max(accepted_at)) AS newest_s,
       (SELECT string_agg(transaction_id::text, ',')
          FROM (SELECT transaction_id FROM fresh ORDER BY accepted_at DESC LIMIT %(newest)s) newest) AS newest,
       pg_relation_size('deliveries') / current_setting('block_size')::integer AS pages
  FROM fresh
"""

# How many payments were accepted within a stretch, and which of them are not delivered. Nearly all their deliveries lie
# in the last pages of the table (a TID range scan, from PostgreSQL 14 on): these are read in one go, and by the primary
# key is asked only for what is not found there, for example where a row took the place of a deleted one.
OPEN_WITHIN: Final = """
WITH stretch AS MATERIALIZED (
  SELECT transaction_id FROM payments
   WHERE accepted_at > to_timestamp(%(begin_s)s) AND accepted_at <= to_timestamp(%(end_s)s)),
left_over AS MATERIALIZED (
  SELECT transaction_id FROM stretch
  EXCEPT SELECT transaction_id FROM deliveries WHERE ctid >= %(first)s::tid AND state = 'delivered')
SELECT (SELECT count(*) FROM stretch),
       (SELECT string_agg(left_over.transaction_id::text, ',') FROM left_over
          LEFT JOIN LATERAL (SELECT state FROM deliveries d
                              WHERE d.transaction_id = left_over.transaction_id OFFSET 0) d ON true
         WHERE d.state IS DISTINCT FROM 'delivered')
"""

# A part of a stretch, in the order of acceptance.
IDS_WITHIN: Final = """
SELECT transaction_id::text, date_part('epoch', accepted_at) FROM payments
 WHERE (accepted_at, transaction_id) > (to_timestamp(%(after_s)s), %(after_id)s::uuid)
   AND accepted_at <= to_timestamp(%(end_s)s)
 ORDER BY accepted_at, transaction_id LIMIT %(limit)s
"""

# Those that wait or were tried in vain, oldest first: what an operator looks for, however many came after them.
OPEN_IDS: Final = """
(SELECT transaction_id::text FROM outbox_events WHERE published_at IS NULL ORDER BY sequence LIMIT %(limit)s)
UNION
(SELECT transaction_id::text FROM deliveries WHERE state <> 'delivered' ORDER BY updated_at LIMIT %(limit)s)
"""

# What is being redelivered, or was a moment ago: else nobody would look again at what was dead-lettered.
REDELIVERED_IDS: Final = """
(SELECT transaction_id::text FROM redeliveries WHERE ended_at IS NULL AND state_before = 'dead' LIMIT %(limit)s)
UNION
(SELECT transaction_id::text FROM redeliveries
  WHERE ended_at >= now() - interval '10 s' AND state_before = 'dead' LIMIT %(limit)s)
"""

BY_IDS: Final = f"""
SELECT {_ROW}
  FROM (SELECT * FROM payments WHERE transaction_id = ANY (%(ids)s::uuid[])) p
  LEFT JOIN {_outbox("p")}
  LEFT JOIN {_delivery("p")}
"""

# Every payment by where it is. Reads three tables whole: whoever asks spaces it by what it costs.
COUNTS: Final = """
SELECT (SELECT count(*) FROM payments) AS accepted,
       (SELECT count(*) FROM outbox_events WHERE published_at IS NULL) AS outbox,
       (SELECT count(*) FROM deliveries) AS tried,
       (SELECT count(*) FROM deliveries WHERE state = 'retrying') AS retrying,
       (SELECT count(*) FROM deliveries WHERE state = 'requeued') AS requeued,
       (SELECT count(*) FROM deliveries WHERE state = 'dead') AS dead
"""


def separate(ids: str | None) -> list[str]:
    """The ids of one text; none where there is none."""
    return ids.split(",") if ids else []
