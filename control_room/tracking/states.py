"""Where a transaction can be, by name."""

from __future__ import annotations

from typing import Final

STATES: Final = ("outbox", "in-kafka", "retrying", "requeued", "delivered", "dead")
ACCEPTED: Final = "accepted"
"""In the outbox or in Kafka, not tried yet: the files of a run do not tell which. A filter for either finds it."""
MISSING: Final = "missing"
"""A payment without an outbox row: must never be seen."""
