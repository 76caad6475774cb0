"""What the merchant-server is told at start: where it answers, how it misbehaves, where its ledger lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.common.settings import Port, PositiveSeconds, SecretSettings, ServiceSettings, Share


class MerchantSettings(ServiceSettings, SecretSettings):
    """Every variable of the merchant-server, beside those of all services."""

    merchant_port: Port = 5001
    """`POST /webhook_listener`, the ledger, `/admin/behaviour`, `/healthz` and `/metrics` all answer here."""
    failure_rate: Share = 0.7
    """The share of requests that fail, until `PUT /admin/behaviour` says otherwise (that outlives a restart)."""
    timeout_share: Share = 0.5
    """The share of failing requests that are answered only after the caller's time-out; the rest get a 500 at once."""
    request_timeout_sec: PositiveSeconds = 3.0
    """The callers' time-out, the same variable as the dispatcher's: an answer held back must be held back longer."""
    hang_sec: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    """How long an answer is held back; not set: 30 s, or twice REQUEST_TIMEOUT_SEC where that is longer."""
    ledger_path: Path = Path(".bruce/merchant-ledger.jsonl")
    """The append-only ledger; its folder is made where it is missing."""

    @model_validator(mode="after")
    def _held_back_long_enough(self) -> Self:
        if self.hang_sec is not None and self.hang_sec <= self.request_timeout_sec:
            raise ValueError(f"HANG_SEC must be more than REQUEST_TIMEOUT_SEC ({self.request_timeout_sec:g})")
        return self

    @property
    def hang_s(self) -> float:
        """How long an answer is held back, in seconds."""
        return self.hang_sec if self.hang_sec is not None else max(30.0, 2 * self.request_timeout_sec)
