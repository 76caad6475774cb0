"""The dispatcher's metrics, each declared once. Gauges are set when somebody asks (see `status`)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from services.common.metrics import LATENCY_BUCKETS_S, LoopCounter, LoopHistogram

ATTEMPTS = Counter("bruce_dispatcher_attempts_total", "Delivery attempts by outcome.", ["outcome"])
DELIVERED = LoopCounter("bruce_dispatcher_deliveries_total", "Records acknowledged by the merchant with a 2xx.")
REQUEUED = Counter("bruce_dispatcher_requeues_total", "Records re-queued after an exhausted round, on their report.")
REQUEUE_FAILURES = Counter("bruce_dispatcher_requeue_failures_total", "Unconfirmed re-queues; each is tried again.")
DEAD = Counter("bruce_dispatcher_dead_total", "Unreadable records sent to the dead-letter topic.")
PAUSES = Counter("bruce_dispatcher_pauses_total", "Pauses, those included that ended as they started.")
PROBES = Counter("bruce_dispatcher_probes_total", "Probes sent during pauses.")
SKIPPED = Counter("bruce_dispatcher_skipped_total", "Records read again that an earlier commit says are complete.")
STALE = Counter("bruce_dispatcher_stale_completions_total", "Completions of an assignment that was revoked or lost.")
GAPS = Counter("bruce_dispatcher_offset_gaps_total", "Runs of offsets that do not exist, confirmed by a second read.")
COMMITS = Counter("bruce_dispatcher_commits_total", "Commits by result.", ["result"])
STALLS = Counter("bruce_dispatcher_stalls_total", "Times the watchdog saw lag without progress.")
RECORD_BATCHES = Counter("bruce_dispatcher_record_batches_total", "Batches of outcomes written to Postgres.")
RECORD_FAILURES = Counter("bruce_dispatcher_record_failures_total", "Writes that Postgres did not take; tried again.")
OUTCOMES_DROPPED = Counter("bruce_dispatcher_outcomes_dropped_total", "Outcomes that Postgres refused for good.")
ATTEMPT_SECONDS = LoopHistogram("bruce_dispatcher_attempt_seconds", "Duration of one attempt.", LATENCY_BUCKETS_S)
DELIVERY_SECONDS = LoopHistogram(
    "bruce_dispatcher_accept_to_delivered_seconds", "From acceptance at the API to the 2xx.", LATENCY_BUCKETS_S
)

IN_FLIGHT = Gauge("bruce_dispatcher_in_flight", "Attempts under way.")
RETRYING = Gauge("bruce_dispatcher_retrying", "Records waiting between two attempts.")
PARKED = Gauge("bruce_dispatcher_parked", "Re-queued records waiting for their time.")
REQUEUING = Gauge("bruce_dispatcher_requeuing", "Records whose re-queue is not confirmed yet.")
UNRECORDED = Gauge("bruce_dispatcher_unrecorded", "Outcomes not yet in Postgres.")
PAUSED = Gauge("bruce_dispatcher_paused", "1 during a pause.")
ASSIGNED = Gauge("bruce_dispatcher_assigned_partitions", "Partitions assigned.")
LAG = Gauge("bruce_dispatcher_consumer_lag", "Newest offset minus committed offset.", ["partition"])

ATTEMPT_DELIVERED = ATTEMPTS.labels("delivered")
ATTEMPT_REFUSED = ATTEMPTS.labels("status")
ATTEMPT_UNANSWERED = ATTEMPTS.labels("unanswered")
