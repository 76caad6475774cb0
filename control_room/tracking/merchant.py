"""What the merchant-server tells of itself."""

from __future__ import annotations

from typing import Any

from control_room.tracking.http_source import fetch_json
from control_room.tracking.parts import SourceError


def read_behaviour(merchant_url: str) -> dict[str, Any]:
    """How the merchant behaves, in its own words. Raises SourceError."""
    return fetch_json(f"{merchant_url}/admin/behaviour")


def read_answers(merchant_url: str) -> dict[str, Any]:
    """How many deliveries got which answer (`counts`) since its start (`since`, Unix s). Raises SourceError."""
    state = fetch_json(f"{merchant_url}/admin/state")
    counts, since = state.get("answers"), state.get("started_at")
    if not isinstance(counts, dict) or since is None:
        raise SourceError("does not tell what it answered")
    return {"since": since, "counts": counts}


def read_state(merchant_url: str) -> tuple[dict[str, Any], dict[str, int]]:
    """How it behaves, and how many deliveries got which answer, in one question. Raises SourceError."""
    state = fetch_json(f"{merchant_url}/admin/state")
    behaviour, answers = state.get("behaviour"), state.get("answers")
    if not isinstance(behaviour, dict) or not isinstance(answers, dict):
        raise SourceError("does not tell how it behaves, or what it answered")
    return behaviour, answers
