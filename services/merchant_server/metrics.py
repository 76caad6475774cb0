"""What the merchant-server counts, all declared here."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.merchant_server.behaviour import Answer

REQUESTS: Final = Counter("merchant_requests", "Requests to /webhook_listener by what they got", ["answer"])
BY_ANSWER: Final = {answer: REQUESTS.labels(answer.value) for answer in Answer}
UNWRITTEN: Final = REQUESTS.labels("503")
"""Answered 503 because the ledger could not be written."""
FOLLOWED: Final = Counter("merchant_redirects_followed", "Requests to where a 301 points: nobody should come")
SIGNATURES: Final = Counter("merchant_signatures", "Signatures seen, by kind and result", ["kind", "result"])
HANGING: Final = Gauge("merchant_hanging_requests", "Requests whose answer is held back now")
LEDGER_LINES: Final = Gauge("merchant_ledger_lines", "Lines of the ledger that are on disk")
FSYNC_S: Final = Histogram(
    "merchant_ledger_fsync_seconds",
    "Write and fsync of one group of ledger lines",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
GROUP_LINES: Final = Histogram(
    "merchant_ledger_group_lines", "Lines written with one fsync", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)
)
