"""How a request is refused: with what status, in which words, and what the log is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from services.common.event import InvalidEventError

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


def forbidden() -> RefusedError:
    """The refusal of a request whose signature is missing or wrong."""
    return RefusedError(403, _FORBIDDEN, "signature missing or wrong")


def reason_of(error: InvalidEventError) -> str:
    """What is wrong with an event, for the log."""
    faults = ", ".join(f"{name} {reason}" for name, reason in list(error.fields.items())[:10])
    return f"{error.sentence} {faults}".strip()
