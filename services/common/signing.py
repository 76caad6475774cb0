"""Signatures, inbound and outbound: `X-HMAC-Signature`, and the Standard Webhooks headers.

Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

SIGNATURE_HEADER: Final = "X-HMAC-Signature"
WEBHOOK_ID_HEADER: Final = "webhook-id"
WEBHOOK_TIMESTAMP_HEADER: Final = "webhook-timestamp"
WEBHOOK_SIGNATURE_HEADER: Final = "webhook-signature"
RECORD_HEADER: Final = "X-Bruce-Record"
"""Which Kafka record an attempt comes from, `partition@offset`: tells why a delivery came twice."""
ATTEMPT_HEADER: Final = "X-Bruce-Attempt"
"""`round.attempt`."""
DISPATCHER_HEADER: Final = "X-Bruce-Dispatcher"
REDELIVERY_HEADER: Final = "X-Bruce-Redelivery"
"""The number of the redelivery that the attempt belongs to; absent from the payment's own delivery."""

TOLERANCE_S: Final = 300
"""How old or how far ahead a `webhook-timestamp` may be: the Standard Webhooks libraries' own tolerance."""
MAX_TIMESTAMP_CHARS: Final = 20

MIN_SECRET_CHARS: Final = 16
_PLACEHOLDERS: Final = (
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "change-this",
    "change_this",
    "secret-here",
    "secret_here",
    "placeholder",
    "your-",
    "your_",
    "replace-",
    "replace_",
    "xxxx",
)
HOW_TO_MAKE_ONE: Final = "make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'"


class SecretError(ValueError):
    """A secret that is missing, too short or a placeholder. The message says how to make one, and never shows it."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The shared secrets: the first signs, all verify, so that a secret can be replaced without a gap."""

    keys: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str) -> Secrets:
        """Secrets from a comma-separated list.

        Raises:
            SecretError: none given, one shorter than 16 characters, or one that is plainly a placeholder.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise SecretError(f"HMAC_SECRET is not set; {HOW_TO_MAKE_ONE}")
        for part in parts:
            if len(part) < MIN_SECRET_CHARS:
                raise SecretError(
                    f"HMAC_SECRET holds a secret of fewer than {MIN_SECRET_CHARS} characters; {HOW_TO_MAKE_ONE}"
                )
            lowered = part.lower()
            if len(set(lowered)) < 4 or any(word in lowered for word in _PLACEHOLDERS):
                raise SecretError(f"HMAC_SECRET holds a placeholder; {HOW_TO_MAKE_ONE}")
        return cls(tuple(part.encode() for part in parts))

    def sign(self, body: bytes) -> str:
        """The value of `X-HMAC-Signature` for `body`: lower-case hex HMAC-SHA256 with the first secret."""
        return _mac(self.keys[0], body).hexdigest()

    def verify(self, signature: str | None, *bodies: bytes) -> bool:
        """Whether `signature` fits one of `bodies` under one of the secrets. Constant time per comparison.

        A header that is not 64 ASCII characters is wrong without a comparison: `hmac.compare_digest` refuses
        non-ASCII text.
        """
        if signature is None or len(signature) != 64 or not signature.isascii():
            return False
        given = signature.encode()
        return any(
            hmac.compare_digest(given, _mac(key, body).hexdigest().encode()) for body in bodies for key in self.keys
        )

    def webhook_signature(self, webhook_id: str, timestamp_s: int, body: bytes) -> str:
        """The value of `webhook-signature`: `v1,` and base64 of HMAC-SHA256, one per secret."""
        return standard_signature(self.keys, webhook_id, timestamp_s, body)

    def verify_webhook(self, webhook_id: str, timestamp: str, signatures: str, body: bytes, *, now_s: float) -> bool:
        """Whether one of the space-separated `signatures` is right and `timestamp` close enough to `now_s`."""
        # The length first: Python refuses to convert thousands of digits, with an exception.
        if not (len(timestamp) <= MAX_TIMESTAMP_CHARS and timestamp.isascii() and timestamp.isdigit()):
            return False
        if abs(now_s - int(timestamp)) > TOLERANCE_S:
            return False
        given = [part.encode() for part in signatures.split() if part.isascii()]
        good = [standard_signature([key], webhook_id, int(timestamp), body).encode() for key in self.keys]
        return any(hmac.compare_digest(one, other) for one in given for other in good)


@cache
def _keyed(key: bytes) -> hmac.HMAC:
    """Made once for each secret: a copy of it takes two thirds of the time of starting anew."""
    return hmac.new(key, digestmod="sha256")


def _mac(key: bytes, message: bytes) -> hmac.HMAC:
    mac = _keyed(key).copy()
    mac.update(message)
    return mac


def standard_signature(keys: Sequence[bytes], webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Standard Webhooks signatures of `body`, one per key of raw bytes, separated by spaces."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp_s, body)
    return " ".join("v1," + base64.b64encode(_mac(key, signed).digest()).decode() for key in keys)


def standard_webhooks_secret(secret: str) -> str:
    """`secret` in the form that Standard Webhooks libraries take: `whsec_` and base64 of its bytes."""
    return "whsec_" + base64.b64encode(secret.encode()).decode()
