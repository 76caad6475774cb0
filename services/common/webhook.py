"""The headers of one delivery attempt, made one way by the dispatcher and by whoever shows what it sent."""

from __future__ import annotations

from typing import Final

from services.common.signing import (
    ATTEMPT_HEADER,
    DISPATCHER_HEADER,
    RECORD_HEADER,
    REDELIVERY_HEADER,
    SIGNATURE_HEADER,
    WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    Secrets,
)

USER_AGENT: Final = "Bruce-Dispatcher/1"


def fixed_headers(dispatcher: str) -> dict[str, str]:
    """The headers that all attempts of the member `dispatcher` have alike."""
    return {"Content-Type": "application/json", "User-Agent": USER_AGENT, DISPATCHER_HEADER: dispatcher}


def attempt_headers(
    secrets: Secrets,
    body: bytes,
    transaction_id: str,
    started_s: float,
    record: tuple[int, int],
    attempt: tuple[int, int],
    *,
    redelivery: int | None = None,
    signature: str = "",
) -> dict[str, str]:
    """The headers that are one attempt's own.

    Args:
        secrets: what it is signed with; none of them is in the result.
        body: the canonical bytes.
        transaction_id: the webhook's id, the same on every attempt.
        started_s: Unix time at which the attempt began: the second of it is signed.
        record: partition and offset of its Kafka record.
        attempt: round, and attempt in it.
        redelivery: the number of the redelivery that it belongs to.
        signature: `X-HMAC-Signature`, where it was made before.
    """
    timestamp_s = int(started_s)
    headers = {
        SIGNATURE_HEADER: signature or secrets.sign(body),
        WEBHOOK_ID_HEADER: transaction_id,
        WEBHOOK_TIMESTAMP_HEADER: str(timestamp_s),
        WEBHOOK_SIGNATURE_HEADER: secrets.webhook_signature(transaction_id, timestamp_s, body),
        RECORD_HEADER: f"{record[0]}@{record[1]}",
        ATTEMPT_HEADER: f"{attempt[0]}.{attempt[1]}",
    }
    if redelivery is not None:
        headers[REDELIVERY_HEADER] = str(redelivery)
    return headers
