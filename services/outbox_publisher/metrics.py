"""The outbox-publisher's metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.common.metrics import LATENCY_BUCKETS_S

CLAIMED: Final = Counter("bruce_outbox_claimed_total", "Rows claimed.")
TAKEN_OVER: Final = Counter("bruce_outbox_leases_taken_over_total", "Rows claimed whose earlier lease had run out.")
PUBLISHED: Final = Counter("bruce_outbox_published_total", "Rows acknowledged by Kafka and marked by this publisher.")
REPUBLISHED: Final = Counter(
    "bruce_outbox_republished_total", "Rows brought to Kafka that somebody else had published meanwhile."
)
REDELIVERED: Final = Counter("bruce_outbox_redelivered_total", "Redeliveries that Kafka acknowledged.")
RELEASED: Final = Counter("bruce_outbox_released_total", "Rows given back because Kafka did not acknowledge them.")
PUT_BACK: Final = Counter(
    "bruce_outbox_put_back_total",
    "Published rows, not delivered, whose record Kafka does not have; by reason.",
    ["reason"],
)
PRUNED: Final = Counter("bruce_outbox_pruned_total", "Payments delivered before the retention began, and deleted.")
IN_FLIGHT: Final = Gauge("bruce_outbox_in_flight", "Rows claimed and not reported by Kafka yet.")
PENDING: Final = Gauge(
    "bruce_outbox_pending", "Rows not published, the API's last ones included; counted up to 100,000."
)
OLDEST_SECONDS: Final = Gauge("bruce_outbox_oldest_pending_seconds", "Age of the oldest row that is not published.")
SWEEP_SECONDS: Final = Histogram("bruce_outbox_claim_seconds", "One claim.", buckets=LATENCY_BUCKETS_S)
