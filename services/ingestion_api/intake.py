"""From a request to a valid, authentic event. Knows nothing of the stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.common.event import Body, Event, InvalidEventError, canonical_bytes, parse_body, validate
from services.common.signing import Secrets
from services.ingestion_api.refusal import RefusedError, error_body, forbidden, reason_of
from services.ingestion_api.request import Request

_JSON_ONLY: Final = ("application/json",)


def receive(request: Request, secrets: Secrets) -> Event:
    """The event in a request.

    The type is checked first, and the signature before anything about the body is told.

    Raises:
        RefusedError: 415, 403 or 400.
    """
    media_type(request, _JSON_ONLY)
    raw, signature = request.body, request.signature
    try:
        body = parse_body(raw) if secrets.verify(signature, raw) else _signed_in_canonical_form(raw, signature, secrets)
        return validate(body.document, body.faults)
    except InvalidEventError as error:
        raise RefusedError(400, error_body(error.sentence, error.fields), reason_of(error)) from error


def media_type(request: Request, allowed: Sequence[str]) -> str:
    """Which of `allowed` the request says its body is. Raises RefusedError: 415."""
    given = request.content_type
    if given in allowed:
        return given
    given = given.partition(";")[0].strip().lower()
    if given not in allowed:
        names = " or ".join(allowed)
        raise RefusedError(415, error_body(f"The Content-Type must be {names}."), f"not {names}")
    return given


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
