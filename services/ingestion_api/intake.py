"""From a request to a valid, authentic event. Knows nothing of the stores, and of HTTP only the WSGI environment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.common.event import (
    MAX_BODY_BYTES,
    Body,
    Event,
    InvalidEventError,
    canonical_bytes,
    parse_body,
    validate,
)
from services.common.signing import SIGNATURE_HEADER, Secrets

SIGNATURE_KEY: Final = "HTTP_" + SIGNATURE_HEADER.upper().replace("-", "_")
_JSON_ONLY: Final = ("application/json",)
_FORBIDDEN: Final = b'{"error": "The signature in X-HMAC-Signature is missing or wrong."}'
"""Constant: whoever cannot sign learns nothing about the body it sent."""


class RefusedError(Exception):
    """A request that is answered 4xx. `body` is the JSON of the answer, `reason` is for the log."""

    def __init__(self, status: int, body: bytes, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.reason = reason


def error_document(sentence: str, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What is said of an event that is not accepted."""
    return {"error": sentence} if fields is None else {"error": sentence, "fields": dict(fields)}


def error_body(sentence: str, fields: Mapping[str, str] | None = None) -> bytes:
    """The JSON body of an answer that is not 201."""
    return json.dumps(error_document(sentence, fields)).encode()


def receive(environ: Mapping[str, Any], secrets: Secrets) -> Event:
    """The event in a request.

    Size and type are checked first, and the signature before anything about the body is told.

    Raises:
        RefusedError: 415, 413, 403 or 400.
    """
    raw, _ = read_body(environ, MAX_BODY_BYTES, _JSON_ONLY)
    signature = environ.get(SIGNATURE_KEY)
    try:
        body = parse_body(raw) if secrets.verify(signature, raw) else _signed_in_canonical_form(raw, signature, secrets)
        return validate(body.document, body.faults)
    except InvalidEventError as error:
        raise RefusedError(400, error_body(error.sentence, error.fields), reason_of(error)) from error


def _signed_in_canonical_form(raw: bytes, signature: str | None, secrets: Secrets) -> Body:
    """The body of a client that signs the canonical form and sends another layout. Raises RefusedError: 403."""
    if signature is None:
        raise forbidden()
    try:
        body = parse_body(raw)
        genuine = secrets.verify(signature, canonical_bytes(body.document))
    except (InvalidEventError, RecursionError):
        raise forbidden() from None
    if not genuine:
        raise forbidden()
    return body


def forbidden() -> RefusedError:
    """The refusal of a request whose signature is missing or wrong."""
    return RefusedError(403, _FORBIDDEN, "signature missing or wrong")


def reason_of(error: InvalidEventError) -> str:
    """What is wrong with an event, for the log."""
    faults = ", ".join(f"{name} {reason}" for name, reason in list(error.fields.items())[:10])
    return f"{error.sentence} {faults}".strip()


def read_body(environ: Mapping[str, Any], limit_bytes: int, media_types: Sequence[str]) -> tuple[bytes, str]:
    """The raw body, and which of `media_types` it is.

    Whatever the answer will be, the body is read, up to the limit: the server hangs up on a caller whose body it did
    not take, and nginx would learn of that with the next payment that it sends down the connection.

    Raises:
        RefusedError: 415 for another content type, 413 for more than `limit_bytes`, announced or sent; 400 for a body
            that does not arrive whole.
    """
    announced = environ.get("CONTENT_LENGTH") or ""
    if announced.isdecimal() and int(announced[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    try:
        body: bytes = environ["wsgi.input"].read(limit_bytes + 1)
    except OSError as error:
        raise RefusedError(400, error_body("The body did not arrive whole."), "body cut") from error
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        allowed = " or ".join(media_types)
        raise RefusedError(415, error_body(f"The Content-Type must be {allowed}."), f"not {allowed}")
    return body, media_type


def _too_large(limit_bytes: int) -> RefusedError:
    return RefusedError(413, error_body(f"The body must be at most {limit_bytes} bytes long."), "body too large")
