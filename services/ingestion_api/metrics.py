"""The ingestion-api's metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.common.metrics import LATENCY_BUCKETS_S, LoopCounter, LoopHistogram

ACCEPTED: Final = LoopCounter("bruce_api_accepted_total", "Events answered 201 for the first time.")
DUPLICATES: Final = LoopCounter("bruce_api_duplicates_total", "Events answered 201 again: same id, same content.")
REFUSED: Final = Counter("bruce_api_refused_total", "Events not accepted, by HTTP status.", ["status"])
REQUEST_SECONDS: Final = LoopHistogram(
    "bruce_api_request_seconds", "POST /events, from its head to its answer.", LATENCY_BUCKETS_S
)
BATCH_SECONDS: Final = LoopHistogram(
    "bruce_api_batch_seconds", "POST /events/batch, from its head to its answer.", LATENCY_BUCKETS_S
)
BATCH_EVENTS: Final = Histogram(
    "bruce_api_batch_events", "Events in one request of POST /events/batch.", buckets=(1, 5, 20, 50, 100, 200, 350, 500)
)
GROUP_EVENTS: Final = Histogram(
    "bruce_api_commit_group_events", "Events committed together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
COMMIT_SECONDS: Final = Histogram(
    "bruce_api_commit_seconds", "One group: statement, COMMIT and look-up of conflicts.", buckets=LATENCY_BUCKETS_S
)
PUBLISHED: Final = Counter("bruce_api_published_total", "Events that this replica itself brought into Kafka.")
LEFT: Final = Counter(
    "bruce_api_left_to_publisher_total",
    "Events whose hand-over was left to the outbox-publisher, by reason.",
    ["reason"],
)
REPUBLISHED: Final = Counter(
    "bruce_api_republished_total", "Events in Kafka a second time: the outbox-publisher had published them as well."
)
IN_FLIGHT: Final = Gauge("bruce_api_handover_in_flight", "Records given to the producer and not reported yet.")
UNMARKED: Final = Gauge("bruce_api_handover_unmarked", "Acknowledged records whose outbox rows are not marked yet.")
