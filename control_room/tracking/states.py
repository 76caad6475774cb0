"""Where a transaction can be, by name."""

from __future__ import annotations

from typing import Final

STATES: Final = ("outbox", "in-kafka", "retrying", "requeued", "delivered", "dead")
MISSING: Final = "missing"
"""A payment without an outbox row: must never be seen."""
