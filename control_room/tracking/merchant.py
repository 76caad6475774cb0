"""What the merchant-server tells of itself."""

from __future__ import annotations

from typing import Any

from control_room.tracking.http_source import fetch_json


def read_behaviour(merchant_url: str) -> dict[str, Any]:
    """How the merchant behaves, in its own words. Raises SourceError."""
    return fetch_json(f"{merchant_url}/admin/behaviour")
