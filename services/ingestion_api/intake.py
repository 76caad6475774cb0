"""From a request to a valid, authentic event. Knows nothing of the stores, and of HTTP only the WSGI environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

_SIGNATURE_KEY: Final = "HTTP_" + SIGNATURE_HEADER.upper().replace("-", "_")
_FORBIDDEN: Final = b'{"error": "The signature in X-HMAC-Signature is missing or wrong."}'
"""Constant: whoever cannot sign learns nothing about the body it sent."""


class RefusedError(Exception):
    """A request that is answered 4xx. `body` is the JSON of the answer, `reason` is for the log."""

    def __init__(self, status: int, body: bytes, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.reason = reason


def error_body(sentence: str, fields: Mapping[str, str] | None = None) -> bytes:
    """The JSON body of an answer that is not 201."""
    document: dict[str, Any] = {"error": sentence}
    if fields is not None:
        document["fields"] = dict(fields)
    return json.dumps(document).encode()


def receive(environ: Mapping[str, Any], secrets: Secrets) -> Event:
    """The event in a request.

    Size and type are checked first, and the signature before anything about the body is told.

    Raises:
        RefusedError: 415, 413, 403 or 400.
    """
    raw = read_body(environ)
    signature = environ.get(_SIGNATURE_KEY)
    try:
        body = parse_body(raw) if secrets.verify(signature, raw) else _signed_in_canonical_form(raw, signature, secrets)
        return validate(body.document, body.faults)
    except InvalidEventError as error:
        raise _invalid(error) from error


def _signed_in_canonical_form(raw: bytes, signature: str | None, secrets: Secrets) -> Body:
    """The body of a client that signs the canonical form and sends another layout. Raises RefusedError: 403."""
    forbidden = RefusedError(403, _FORBIDDEN, "signature missing or wrong")
    if signature is None:
        raise forbidden
    try:
        body = parse_body(raw)
        genuine = secrets.verify(signature, canonical_bytes(body.document))
    except (InvalidEventError, RecursionError):
        raise forbidden from None
    if not genuine:
        raise forbidden
    return body


def _invalid(error: InvalidEventError) -> RefusedError:
    faults = ", ".join(f"{name} {reason}" for name, reason in list(error.fields.items())[:10])
    return RefusedError(400, error_body(error.sentence, error.fields), f"{error.sentence} {faults}".strip())


def read_body(environ: Mapping[str, Any]) -> bytes:
    """The raw body.

    Whatever the answer will be, the body is read, up to the limit: the server hangs up on a caller whose body it did
    not take, and nginx would learn of that with the next payment that it sends down the connection.

    Raises:
        RefusedError: 415 for another content type than JSON, 413 for more than 64 KiB, announced or sent; 400 for a
            body that does not arrive whole.
    """
    announced = environ.get("CONTENT_LENGTH") or ""
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise RefusedError(400, error_body("The body did not arrive whole."), "body cut") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusedError(415, error_body("The Content-Type must be application/json."), "not application/json")
    return body


def _too_large() -> RefusedError:
    return RefusedError(413, error_body(f"The body must be at most {MAX_BODY_BYTES} bytes long."), "body too large")
