"""From ASGI to a request with its whole body, never more of it than is allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple

from services.common.signing import SIGNATURE_HEADER
from services.ingestion_api.refusal import RefusedError, error_body

Scope = MutableMapping[str, Any]
"""What the server knows of a request before its body (ASGI 3.0)."""
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SIGNATURE: Final = SIGNATURE_HEADER.lower().encode()


class Request(NamedTuple):
    """What a `POST` says."""

    body: bytes
    content_type: str = ""
    """The header as it was sent; empty where there is none."""
    signature: str | None = None


async def read_request(scope: Scope, receive: Receive, limit_bytes: int) -> Request:
    """The request with its body. What is not read of a body that is too long, the server drops as it comes.

    Raises:
        RefusedError: 413 for more than `limit_bytes`, announced or sent; 400 for a body that does not arrive whole.
    """
    announced, content_type, signature = b"", "", None
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = value
        elif name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == _SIGNATURE:
            signature = value.decode("latin-1")
    if announced.isdigit() and int(announced[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    return Request(await _read_body(receive, limit_bytes), content_type, signature)


async def _read_body(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    length = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, error_body("The body did not arrive whole."), "body cut")
        part = message.get("body", b"")
        length += len(part)
        if length > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit_bytes: int) -> RefusedError:
    return RefusedError(413, error_body(f"The body must be at most {limit_bytes} bytes long."), "body too large")
