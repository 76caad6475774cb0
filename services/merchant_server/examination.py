"""What the ledger says about one request: whose it is, whether its signatures verify, where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from services.common.event import TRANSACTION_ID
from services.common.signing import (
    ATTEMPT_HEADER,
    DISPATCHER_HEADER,
    MAX_TIMESTAMP_CHARS,
    RECORD_HEADER,
    REDELIVERY_HEADER,
    SIGNATURE_HEADER,
    WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    Secrets,
)

MAX_TEXT_CHARS: Final = 100
"""Ids and header values from outside are cut to this, so that a ledger's line stays short."""
OK: Final = "ok"
BAD: Final = "bad"
MISSING: Final = "missing"
STALE: Final = "stale"
"""Signed rightly, at a time that is too far from now: a replay, or somebody's wrong clock."""


def examine(body: bytes, headers: Mapping[str, str], secrets: Secrets, now_s: float) -> dict[str, Any]:
    """The keys of a `req` line (docs/run-files.md) that the request itself decides; `status` is not among them.

    Never raises, whatever the request holds.
    """
    transaction_id = _transaction_id(body)
    record = {
        "k": "req",
        "id": transaction_id,
        "at": round(now_s, 6),
        "sha": hashlib.sha256(body).hexdigest(),
        "hmac": _hmac(body, headers, secrets),
        "wh": _standard_webhooks(transaction_id, body, headers, secrets, now_s),
        "status": 0,
        "src": _text(headers.get(RECORD_HEADER)),
        "att": _text(headers.get(ATTEMPT_HEADER)),
        "by": _text(headers.get(DISPATCHER_HEADER)),
    }
    if redelivery := _text(headers.get(REDELIVERY_HEADER)):
        record["red"] = redelivery
    return record


def _transaction_id(body: bytes) -> str:
    """In lower case, as the pipeline keys it."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    value = document.get(TRANSACTION_ID) if isinstance(document, dict) else None
    return value.lower()[:MAX_TEXT_CHARS] if isinstance(value, str) else ""


def _hmac(body: bytes, headers: Mapping[str, str], secrets: Secrets) -> str:
    signature = headers.get(SIGNATURE_HEADER)
    if signature is None:
        return MISSING
    return OK if secrets.verify(signature, body) else BAD


def _standard_webhooks(
    transaction_id: str, body: bytes, headers: Mapping[str, str], secrets: Secrets, now_s: float
) -> str:
    webhook_id = headers.get(WEBHOOK_ID_HEADER)
    timestamp = headers.get(WEBHOOK_TIMESTAMP_HEADER)
    signatures = headers.get(WEBHOOK_SIGNATURE_HEADER)
    if not webhook_id or not timestamp or not signatures:
        return MISSING
    # A signature that names another transaction than the body's is not this transaction's.
    if not webhook_id.isascii() or webhook_id.lower() != transaction_id:
        return BAD
    if secrets.verify_webhook(webhook_id, timestamp, signatures, body, now_s=now_s):
        return OK
    if not (len(timestamp) <= MAX_TIMESTAMP_CHARS and timestamp.isascii() and timestamp.isdigit()):
        return BAD
    then = secrets.verify_webhook(webhook_id, timestamp, signatures, body, now_s=int(timestamp))
    return STALE if then else BAD


def _text(value: str | None) -> str:
    """A header's value; what is not ASCII (lone surrogates cannot be written as JSON) counts as not given."""
    return value[:MAX_TEXT_CHARS] if value is not None and value.isascii() else ""
