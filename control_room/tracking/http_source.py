"""JSON and lines over HTTP, as the control room reads them from members.

By the standard library's client: a look through `requests` takes five times the processor, several times a second.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from control_room.tracking.parts import SourceError

TIMEOUT_S = 2.0
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Far above a page of the ledger; keeps a wild answer from filling the memory."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


def fetch_json(url: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The JSON object at `url`. Raises SourceError with a sentence."""
    try:
        document = json.loads(request("GET", url, timeout_s).body)
    except ValueError as error:
        raise SourceError("answered with something that is not JSON") from error
    if not isinstance(document, dict):
        raise SourceError("answered with JSON that is not an object")
    return document


def fetch_lines(url: str, params: Mapping[str, int], timeout_s: float = 5.0) -> list[bytes]:
    """The lines of a text at `url`, without empty ones. Raises SourceError with a sentence."""
    return [line for line in request("GET", f"{url}?{urlencode(params)}", timeout_s).body.split(b"\n") if line]


def put_json(url: str, document: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> None:
    """PUTs `document` to `url`. Raises SourceError with a sentence, the server's own where it gave one."""
    request("PUT", url, timeout_s, json.dumps(dict(document)).encode())


def request(method: str, url: str, timeout_s: float, document: bytes | None = None) -> Answer:
    """One request within `timeout_s` in total, without redirects and without a proxy from the environment.

    Raises:
        SourceError: no connection, no answer in time, a status of 300 or more, or a body beyond MAX_BODY_BYTES.
    """
    where = urlsplit(url).netloc
    if not where:
        raise SourceError("no address of it is configured")
    try:
        answer = _ask(method, url, timeout_s, document)
    except TimeoutError as error:
        raise SourceError(f"{where} did not answer within {timeout_s:g} s") from error
    except ConnectionRefusedError as error:
        raise SourceError(f"{where} refuses connections") from error
    except ssl.SSLCertVerificationError as error:
        raise SourceError(f"the certificate of {where} is refused: {error.verify_message}") from error
    except OSError as error:
        raise SourceError(f"the connection to {where} broke") from error
    except (http.client.HTTPException, ValueError) as error:
        raise SourceError(f"{where} gave no usable answer: {type(error).__name__}") from error
    if answer.status >= 300:
        raise SourceError(f"{where} answered {answer.status}{_why(answer.body)}")
    return answer


def _why(body: bytes) -> str:
    """What a refusal says of itself: its `error`, or its first line."""
    text = body[:2000].decode("utf-8", "replace").strip()
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        text = text[:300].splitlines()[0] if text else ""
    return f": {text}" if text else ""


def _ask(method: str, url: str, timeout_s: float, document: bytes | None) -> Answer:
    until_s = time.monotonic() + timeout_s
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    headers = {"Content-Type": "application/json"} if document is not None else {}
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout_s)
    try:
        connection.request(method, target, document, headers)
        answer = connection.getresponse()
        body = bytearray()
        while chunk := answer.read1(1 << 16):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(f"{parts.netloc} answered with more than {MAX_BODY_BYTES} bytes")
            if time.monotonic() > until_s:
                raise TimeoutError
        if answer.length:
            raise http.client.IncompleteRead(bytes(body[-100:]), answer.length)
        return Answer(answer.status, bytes(body))
    finally:
        connection.close()
