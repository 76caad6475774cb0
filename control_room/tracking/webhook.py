"""What the merchant gets of one transaction: the body, byte for byte, and the signed headers of every attempt.

The bodies lie in Postgres. The headers are made again, by the function that the dispatcher makes them with, from the
recorded attempts and the stack's own secret; what the merchant found when it verified them stands in its ledger. Only
signatures are shown, never what they were made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from control_room.tracking.text import harmless
from services.common.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, Secrets
from services.common.webhook import attempt_headers, fixed_headers

if TYPE_CHECKING:
    from control_room.tracking.timeline import Attempt

BODY_LINE_CHARS: Final = 100
_MAX_LINE_CHARS: Final = 1000
"""Every character of a line of the body may become four: none of them is cut off."""
INBOUND: Final = "how the client signed its own request is checked at the door and not kept"


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt as it left the dispatcher."""

    attempt: str
    """`round.attempt`; empty where nothing was sent yet."""
    at_s: float
    """Unix time; 0 where nothing was sent yet."""
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Webhook:
    """What the merchant gets."""

    url: str
    body: bytes
    requests: tuple[Request, ...]
    """One per recorded attempt, oldest first; before the first attempt one with the headers that are known already."""
    notes: tuple[str, ...]
    """What is not as it should be, or not known, in sentences."""

    @property
    def sha256(self) -> str:
        """Of the body: what the ledger has of it."""
        return hashlib.sha256(self.body).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As JSON types. The body is text: canonical bytes are ASCII."""
        return {
            "url": self.url,
            "body": self.body.decode("ascii", "backslashreplace"),
            "body_bytes": len(self.body),
            "body_sha256": self.sha256,
            "requests": [
                {"attempt": each.attempt, "at_s": each.at_s, "headers": dict(each.headers)} for each in self.requests
            ],
            "notes": list(self.notes),
        }


def webhook_of(
    url: str,
    transaction_id: str,
    body: bytes,
    attempts: Sequence[Attempt],
    ledger: Sequence[Mapping[str, Any]],
    secrets: Secrets | None,
) -> Webhook:
    """What was sent for one transaction, or will be.

    Args:
        url: where the dispatcher delivers to.
        transaction_id: whose it is.
        body: the canonical bytes.
        attempts: as recorded, oldest first.
        ledger: the facts of its lines in the merchant's ledger.
        secrets: those of the stack; without them no signature is shown.
    """
    notes = [INBOUND]
    if secrets is None:
        notes.append("the stack's secret is not known here: signatures are left out")
    requests = tuple(_request(transaction_id, body, each, secrets) for each in attempts)
    if not requests and secrets is not None:
        known = {SIGNATURE_HEADER: secrets.sign(body), WEBHOOK_ID_HEADER: transaction_id}
        requests = (Request("", 0.0, known),)
        notes.append("not tried yet: time and webhook-signature are made with each attempt")
    sha256 = hashlib.sha256(body).hexdigest()
    notes += [f"line {line['n']} of the ledger holds other bytes" for line in ledger if line.get("sha") != sha256]
    if secrets is not None and any(line.get("hmac") == "bad" or line.get("wh") == "bad" for line in ledger):
        notes.append("the merchant found a signature that does not verify: its secret may be, or have been, another")
    return Webhook(url, body, requests, tuple(notes))


def _request(transaction_id: str, body: bytes, attempt: Attempt, secrets: Secrets | None) -> Request:
    headers = fixed_headers(attempt.dispatcher)
    if secrets is not None:
        record, number = (attempt.partition, attempt.offset), (attempt.round, attempt.attempt)
        headers |= attempt_headers(
            secrets, body, transaction_id, attempt.started_at_s, record, number, redelivery=attempt.redelivery
        )
    return Request(f"{attempt.round}.{attempt.attempt}", attempt.started_at_s, headers)


def render_webhook(webhook: Webhook) -> list[str]:
    """The newest request as lines for a terminal, and how the others differ."""
    return [harmless(line, _MAX_LINE_CHARS) for line in _lines(webhook)]


def _lines(webhook: Webhook) -> Iterator[str]:
    yield ""
    if webhook.requests:
        last = webhook.requests[-1]
        which = f"attempt {last.attempt}" if last.attempt else "as it will be"
        yield f"what the merchant gets, {which}: POST {webhook.url}"
        yield from (f"  {name}: {value}" for name, value in last.headers.items())
    text = webhook.body.decode("ascii", "backslashreplace")
    yield f"  body of {len(webhook.body)} bytes, SHA-256 {webhook.sha256[:16]}…:"
    yield from (f"    {text[begin : begin + BODY_LINE_CHARS]}" for begin in range(0, len(text), BODY_LINE_CHARS))
    earlier = len(webhook.requests) - 1
    if earlier > 0:
        yield f"  the {earlier} before it had the same body and id, and times and signatures of their own (--json)"
    yield from (f"  note: {note}" for note in webhook.notes)
